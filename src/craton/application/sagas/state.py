"""What is known of a saga: the events of its stream, and the state they add up to."""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec.structs import replace

from craton.domain import Event, Id, Value
from craton.domain.value import Instant


class SagaId(Id):
    pass


class SagaStarted(Event):
    saga: str
    fingerprint: str
    """Of the definition it was started with."""
    fields: str
    """The saga's own fields, as JSON."""
    steps: tuple[str, ...]
    at: Instant
    deadline: Instant | None
    actor: str | None
    tenant: str | None
    correlation: str | None


class StepBegun(Event):
    """The intent to run a step. It is durable before the step is."""

    step: str
    waits: bool
    at: Instant
    deadline: Instant | None


class EventArrived(Event):
    """The event that a step waits for, or will."""

    step: str
    event: str
    at: Instant


class StepDone(Event):
    step: str
    fields: str | None
    """The saga's fields, if the step has changed them."""
    at: Instant


class StepRefused(Event):
    step: str
    code: str
    detail: str
    call: int
    """Which of the step's commands was refused, from 1. Those before it have changed something."""
    at: Instant


class StepTried(Event):
    """An attempt whose outcome is unknown."""

    step: str
    error: str
    retry_at: Instant | None
    """None: it isn't tried again."""
    at: Instant


class CompensationBegun(Event):
    code: str
    reason: str
    unsettled: tuple[str, ...]
    """Steps of which it must be found out first whether they ran."""
    at: Instant


class StepSettled(Event):
    """It is certain now whether the step ran; if it didn't, it never will."""

    step: str
    ran: bool
    fields: str | None
    at: Instant


class UndoBegun(Event):
    step: str
    at: Instant


class UndoDone(Event):
    step: str
    fields: str | None
    at: Instant


class UndoTried(Event):
    """An attempt to undo (or to find out whether there is something to undo) that hasn't succeeded."""

    step: str
    error: str
    refused_call: int
    """Which of its commands was refused, from 1; 0 when it is unknown what came of them."""
    retry_at: Instant | None
    at: Instant


class SagaCompleted(Event):
    at: Instant


class SagaCompensated(Event):
    at: Instant


class SagaStuck(Event):
    reason: str
    at: Instant


class SagaRetried(Event):
    """An operator has what is stuck tried again."""

    reason: str
    at: Instant


class StepSkipped(Event):
    """An operator has a step, or its compensation, taken as done."""

    step: str
    fields: str | None
    reason: str
    at: Instant


class SagaResolved(Event):
    """An operator has settled the matter by other means."""

    note: str
    at: Instant


SagaEvent = (
    SagaStarted
    | StepBegun
    | EventArrived
    | StepDone
    | StepRefused
    | StepTried
    | CompensationBegun
    | StepSettled
    | UndoBegun
    | UndoDone
    | UndoTried
    | SagaCompleted
    | SagaCompensated
    | SagaStuck
    | SagaRetried
    | StepSkipped
    | SagaResolved
)


class Status(StrEnum):
    """How a saga stands."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    STUCK = "stuck"
    RESOLVED = "resolved"


class StepStatus(StrEnum):
    """How a step stands."""

    IDLE = "idle"
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """It may have run: its attempts have ended without an answer."""
    UNSETTLED = "unsettled"
    """It is being found out whether it ran."""
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
    refused_calls: tuple[int, ...] = ()
    """Which of its commands were refused: tried again, they and those behind them get new idempotency keys."""
    undo_refused_calls: tuple[int, ...] = ()
    event: str = ""

    @property
    def has_effects(self) -> bool:
        """Whether a refused step had changed something before it was refused."""
        return bool(self.refused_calls) and self.refused_calls[-1] > 1


class SagaState(Value):
    saga: str
    fingerprint: str
    status: Status
    fields: str
    steps: tuple[StepState, ...]
    started_at: Instant
    deadline: Instant | None
    ended_at: Instant | None = None
    code: str = ""
    reason: str = ""
    note: str = ""
    actor: str | None = None
    tenant: str | None = None
    correlation: str | None = None

    def step(self, name: str) -> StepState:
        """Raises `KeyError` for a name that is none of its steps."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    def with_step(self, name: str, **changes: Any) -> "SagaState":
        return replace(
            self, steps=tuple(replace(step, **changes) if step.name == name else step for step in self.steps)
        )

    def with_fields(self, fields: str | None) -> "SagaState":
        return self if fields is None else replace(self, fields=fields)

    @property
    def ended(self) -> bool:
        return self.status in (Status.COMPLETED, Status.COMPENSATED, Status.RESOLVED)

    @property
    def times(self) -> Iterator[datetime]:
        """When there is something to be done by itself; what is to be done at once was due when it started."""
        if self.status not in (Status.RUNNING, Status.COMPENSATING):
            return
        for step in self.steps:
            if step.status in (StepStatus.RUNNING, StepStatus.UNSETTLED, StepStatus.UNDOING):
                yield step.retry_at or self.started_at
            if step.status in (StepStatus.RUNNING, StepStatus.WAITING) and step.deadline is not None:
                yield step.deadline
        if self.status is Status.RUNNING and self.deadline is not None:
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


def evolve(state: SagaState, event: SagaEvent) -> SagaState:
    """The state after an event."""
    match event:
        case SagaStarted():
            return begun(event)
        case StepBegun(step=step, waits=waits, at=at, deadline=deadline):
            must_wait = waits and not state.step(step).event
            status = StepStatus.WAITING if must_wait else StepStatus.RUNNING
            return state.with_step(step, status=status, begun_at=at, deadline=deadline)
        case EventArrived(step=step, event=text):
            waited = state.step(step).status is StepStatus.WAITING
            status = StepStatus.RUNNING if waited else state.step(step).status
            return state.with_step(step, event=text, status=status)
        case StepDone(step=step, fields=fields, at=at):
            attempts = state.step(step).attempts + 1
            return state.with_fields(fields).with_step(
                step, status=StepStatus.DONE, attempts=attempts, ended_at=at, retry_at=None, error=""
            )
        case StepRefused(step=step, code=code, detail=detail, call=call, at=at):
            before = state.step(step)
            return state.with_step(
                step,
                status=StepStatus.REFUSED,
                attempts=before.attempts + 1,
                ended_at=at,
                retry_at=None,
                code=code,
                error=detail,
                refused_calls=(*before.refused_calls, call),
            )
        case StepTried(step=step, error=error, retry_at=retry_at, at=at):
            status = StepStatus.UNKNOWN if retry_at is None else StepStatus.RUNNING
            return state.with_step(
                step, status=status, attempts=state.step(step).attempts + 1, retry_at=retry_at, error=error
            )
        case CompensationBegun(code=code, reason=reason, unsettled=unsettled):
            steps = tuple(_turned(step, unsettled) for step in state.steps)
            return replace(state, status=Status.COMPENSATING, code=code, reason=reason, steps=steps)
        case StepSettled(step=step, ran=ran, fields=fields, at=at):
            status = StepStatus.DONE if ran else StepStatus.NEVER_RAN
            return state.with_fields(fields).with_step(
                step, status=status, ended_at=at, retry_at=None, undo_attempts=0, settled=True
            )
        case UndoBegun(step=step):
            return state.with_step(step, status=StepStatus.UNDOING, retry_at=None)
        case UndoDone(step=step, fields=fields, at=at):
            attempts = state.step(step).undo_attempts + 1
            return state.with_fields(fields).with_step(
                step, status=StepStatus.UNDONE, undo_attempts=attempts, ended_at=at, retry_at=None
            )
        case UndoTried(step=step, error=error, refused_call=call, retry_at=retry_at):
            before = state.step(step)
            return state.with_step(
                step,
                status=StepStatus.UNDO_FAILED if retry_at is None else before.status,
                undo_attempts=before.undo_attempts + 1,
                retry_at=retry_at,
                error=error,
                undo_refused_calls=(*before.undo_refused_calls, call) if call else before.undo_refused_calls,
            )
        case SagaCompleted(at=at):
            return replace(state, status=Status.COMPLETED, ended_at=at)
        case SagaCompensated(at=at):
            return replace(state, status=Status.COMPENSATED, ended_at=at)
        case SagaStuck(reason=reason):
            return replace(state, status=Status.STUCK, note=reason)
        case SagaRetried():
            steps = tuple(_tried_anew(step) for step in state.steps)
            backwards = any(step.status is StepStatus.UNDO_FAILED for step in state.steps)
            return replace(state, status=Status.COMPENSATING if backwards else Status.RUNNING, note="", steps=steps)
        case StepSkipped(step=step, fields=fields, at=at):
            undone = state.step(step).status in (StepStatus.UNDO_FAILED, StepStatus.UNDOING, StepStatus.UNSETTLED)
            backwards = state.status is Status.COMPENSATING or undone
            return replace(
                state.with_fields(fields).with_step(
                    step, status=StepStatus.UNDONE if undone else StepStatus.SKIPPED, ended_at=at, retry_at=None
                ),
                status=Status.COMPENSATING if backwards else Status.RUNNING,
                note="",
            )
        case SagaResolved(note=note, at=at):
            return replace(state, status=Status.RESOLVED, note=note, ended_at=at)


def _turned(step: StepState, unsettled: tuple[str, ...]) -> StepState:
    """A step at the moment when the saga begins to compensate."""
    if step.name in unsettled:
        return replace(step, status=StepStatus.UNSETTLED, retry_at=None, settled=False)
    if step.status is StepStatus.WAITING:
        return replace(step, status=StepStatus.NEVER_RAN)
    if step.status is StepStatus.RUNNING:
        return replace(step, status=StepStatus.UNKNOWN, retry_at=None)
    return step


def _tried_anew(step: StepState) -> StepState:
    match step.status:
        case StepStatus.UNDO_FAILED:
            status = StepStatus.UNDOING if step.settled else StepStatus.UNSETTLED
        case StepStatus.REFUSED:
            status = StepStatus.RUNNING
        case _:
            return step
    return replace(step, status=status, retry_at=None)
