"""What is known of a saga: the state that its events add up to."""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from craton.application.codec import encode_text
from craton.application.sagas.events import (
    CompensationBegun,
    EventArrived,
    SagaChange,
    SagaCompensated,
    SagaCompleted,
    SagaResolved,
    SagaRetried,
    SagaStarted,
    SagaStuck,
    StepBegun,
    StepDone,
    StepRefused,
    StepSettled,
    StepSkipped,
    StepTried,
    UndoBegun,
    UndoDone,
    UndoTried,
)
from craton.domain import Value
from craton.domain.value import Instant


class Status(StrEnum):
    """The status of a saga."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    STUCK = "stuck"
    RESOLVED = "resolved"


class StepStatus(StrEnum):
    """The status of a step."""

    IDLE = "idle"
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """The step may have run: its attempts have ended without an answer."""
    UNSETTLED = "unsettled"
    """The saga is finding out whether the step ran."""
    NEVER_RAN = "never-ran"
    UNDOING = "undoing"
    UNDONE = "undone"
    UNDO_FAILED = "undo-failed"


class StepState(Value):
    name: str
    status: StepStatus = StepStatus.IDLE
    attempts: int = 0
    undo_attempts: int = 0
    begun_at: Instant | None = None
    ended_at: Instant | None = None
    deadline: Instant | None = None
    retry_at: Instant | None = None
    error: str = ""
    code: str = ""
    settled: bool = True
    certain: bool = True
    """For a refused step: whether it is certain that the step has changed nothing."""
    refused: tuple[str, ...] = ()
    """The commands of the step that were refused: when tried again, they get new idempotency keys."""
    undo_refused: tuple[str, ...] = ()
    outcomes: int = 0
    """The number of recorded outcomes, those of the compensation included. It marks late reports."""
    event: str = ""
    fields: str = ""
    """The saga's fields when the step, or its compensation, began: each attempt starts from the same fields."""

    def can_be_late(self, *, past_pivot: bool) -> bool:
        """Past the pivot only a step that waits can be late: all other steps are tried until they succeed."""
        return self.status is StepStatus.WAITING or (self.status is StepStatus.RUNNING and not past_pivot)


class SagaState(Value):
    saga: str
    fingerprint: str
    status: Status
    fields: str
    steps: tuple[StepState, ...]
    started_at: Instant
    deadline: Instant | None
    ended_at: Instant | None = None
    past_pivot: bool = False
    turned: bool = False
    """Whether the saga compensates, or has compensated: then it never goes forward again."""
    code: str = ""
    reason: str = ""
    note: str = ""
    actor: str | None = None
    tenant: str | None = None
    correlation: str | None = None

    def step(self, name: str) -> StepState:
        """The state of a step. Raises `KeyError` for a name that isn't one of the saga's steps."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    def with_step(self, name: str, **changes: Any) -> "SagaState":
        return replace(
            self, steps=tuple(replace(step, **changes) if step.name == name else step for step in self.steps)
        )

    def with_outcome(self, name: str, **changes: Any) -> "SagaState":
        return self.with_step(name, outcomes=self.step(name).outcomes + 1, **changes)

    def with_changes(self, changes: dict[str, Any]) -> "SagaState":
        """Apply only the fields that have changed, so that steps running in parallel keep each other's changes."""
        if not changes:
            return self
        return replace(self, fields=encode_text({**msgspec.json.decode(self.fields), **changes}))

    @property
    def ended(self) -> bool:
        return self.status in (Status.COMPLETED, Status.COMPENSATED, Status.RESOLVED)

    @property
    def times(self) -> Iterator[datetime]:
        """The times at which something is due without an event; work that is due at once has its own starting time."""
        if self.status not in (Status.RUNNING, Status.COMPENSATING):
            return
        for step in self.steps:
            if step.status in (StepStatus.RUNNING, StepStatus.UNSETTLED, StepStatus.UNDOING):
                yield step.retry_at or self.started_at
            if step.deadline and step.can_be_late(past_pivot=self.past_pivot):
                yield step.deadline
        if self.status is Status.RUNNING and self.deadline and not self.past_pivot:
            yield self.deadline


def begun(event: SagaStarted) -> SagaState:
    return SagaState(
        saga=event.saga,
        fingerprint=event.fingerprint,
        status=Status.RUNNING,
        fields=event.fields,
        steps=tuple(StepState(name=name) for name in event.steps),
        started_at=event.at,
        deadline=event.deadline,
        actor=event.actor,
        tenant=event.tenant,
        correlation=event.correlation,
    )


def evolve(state: SagaState, event: SagaChange) -> SagaState:
    """The state after an event."""
    match event:
        case StepBegun(step=step, waits=waits, pivot=pivot, at=at, deadline=deadline):
            must_wait = waits and not state.step(step).event
            status = StepStatus.WAITING if must_wait else StepStatus.RUNNING
            state = state.with_step(step, status=status, begun_at=at, deadline=deadline, fields=state.fields)
            return replace(state, past_pivot=True) if pivot else state
        case EventArrived(step=step, event=text):
            before = state.step(step)
            if before.status is not StepStatus.WAITING:
                return state.with_step(step, event=text)
            deadline = None if state.past_pivot else before.deadline
            return state.with_step(step, event=text, status=StepStatus.RUNNING, deadline=deadline)
        case StepDone(step=step, changes=changes, at=at):
            attempts = state.step(step).attempts + 1
            return state.with_changes(changes).with_outcome(
                step, status=StepStatus.DONE, attempts=attempts, ended_at=at, retry_at=None, error="", fields=""
            )
        case StepRefused(step=step, code=code, detail=detail, command=command, certain=certain, changes=changes, at=at):
            before = state.step(step)
            return state.with_changes(changes).with_outcome(
                step,
                status=StepStatus.REFUSED,
                attempts=before.attempts + 1,
                ended_at=at,
                retry_at=None,
                code=code,
                error=detail,
                certain=certain,
                refused=(*before.refused, command) if command else before.refused,
            )
        case StepTried(step=step, error=error, changes=changes, retry_at=retry_at):
            status = StepStatus.UNKNOWN if retry_at is None else StepStatus.RUNNING
            attempts = state.step(step).attempts + 1
            kept = state.with_changes(changes) if retry_at is None else state
            return kept.with_outcome(step, status=status, attempts=attempts, retry_at=retry_at, error=error)
        case CompensationBegun(code=code, reason=reason, unsettled=unsettled):
            steps = tuple(_turned(step, unsettled) for step in state.steps)
            return replace(
                state,
                status=Status.COMPENSATING,
                code=code,
                reason=reason,
                steps=steps,
                past_pivot=False,
                turned=True,
            )
        case StepSettled(step=step, ran=ran, changes=changes, at=at):
            status = StepStatus.DONE if ran else StepStatus.NEVER_RAN
            return state.with_changes(changes).with_outcome(
                step, status=status, ended_at=at, retry_at=None, undo_attempts=0, settled=True, fields=""
            )
        case UndoBegun(step=step):
            return state.with_step(step, status=StepStatus.UNDOING, retry_at=None, fields=state.fields)
        case UndoDone(step=step, changes=changes, at=at):
            attempts = state.step(step).undo_attempts + 1
            return state.with_changes(changes).with_outcome(
                step, status=StepStatus.UNDONE, undo_attempts=attempts, ended_at=at, retry_at=None, fields=""
            )
        case UndoTried(step=step, error=error, command=command, retry_at=retry_at):
            before = state.step(step)
            return state.with_outcome(
                step,
                status=StepStatus.UNDO_FAILED if retry_at is None else before.status,
                undo_attempts=before.undo_attempts + 1,
                retry_at=retry_at,
                error=error,
                undo_refused=(*before.undo_refused, command) if command else before.undo_refused,
            )
        case SagaCompleted(at=at):
            return replace(state, status=Status.COMPLETED, ended_at=at)
        case SagaCompensated(at=at):
            return replace(state, status=Status.COMPENSATED, ended_at=at)
        case SagaStuck(reason=reason):
            return replace(state, status=Status.STUCK, note=reason)
        case SagaRetried():
            return _tried_anew(state)
        case StepSkipped(step=step, changes=changes, at=at):
            status = StepStatus.UNDONE if state.turned else StepStatus.SKIPPED
            return replace(
                state.with_changes(changes).with_outcome(step, status=status, ended_at=at, retry_at=None, fields=""),
                status=Status.COMPENSATING if state.turned else Status.RUNNING,
                note="",
            )
        case SagaResolved(note=note, at=at):
            return replace(state, status=Status.RESOLVED, note=note, ended_at=at)


def _turned(step: StepState, unsettled: tuple[str, ...]) -> StepState:
    """The state of a step when the saga begins to compensate."""
    if step.name in unsettled:
        return replace(step, status=StepStatus.UNSETTLED, retry_at=None, settled=False)
    if step.status is StepStatus.WAITING:
        return replace(step, status=StepStatus.NEVER_RAN)
    if step.status is StepStatus.RUNNING:
        return replace(step, status=StepStatus.UNKNOWN, retry_at=None)
    return step


def _tried_anew(state: SagaState) -> SagaState:
    """Prepare failed steps for another try: those that couldn't be undone, or that were refused past the pivot."""
    steps = []
    for step in state.steps:
        if step.status is StepStatus.UNDO_FAILED:
            status = StepStatus.UNDOING if step.settled else StepStatus.UNSETTLED
            steps.append(replace(step, status=status, retry_at=None, undo_attempts=0))
        elif step.status is StepStatus.REFUSED and not state.turned:
            steps.append(replace(step, status=StepStatus.RUNNING, retry_at=None, attempts=0, ended_at=None))
        else:
            steps.append(step)
    status_of_all = Status.COMPENSATING if state.turned else Status.RUNNING
    return replace(state, status=status_of_all, note="", steps=tuple(steps))
