"""The rules by which a saga goes on. Pure: what is to be done is planned here and done elsewhere.

- A step begins when all it waits for are done; its intent is recorded before it is run.
- A refusal before the pivot turns the saga round, and so does an unknown outcome when the retries have ended. Past the
  pivot an unknown outcome is tried again until it is known, and a refusal leaves the saga stuck.
- Once compensating, never forward again. A step of which nobody knows whether it ran is settled first: either what it
  did is known then, or it never will do it. A step is undone when all that came after it is over.
- What can't be undone doesn't stop the others; it leaves the saga stuck in the end.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from craton.application.api import Api
from craton.application.retry import Retry
from craton.application.sagas.actions import Action, ActionOutcome, Done, Kind, Refused, Settled, Unknown
from craton.application.sagas.definition import SagaDefinition
from craton.application.sagas.events import (
    CompensationBegun,
    EventArrived,
    Fields,
    SagaCompensated,
    SagaCompleted,
    SagaEvent,
    SagaId,
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
from craton.application.sagas.refusals import BlankReason, PastPivot, SagaEnded, SagaNotFound, UnfitFields, UnknownStep
from craton.application.sagas.state import SagaState, Status, StepState, StepStatus, begun, evolve
from craton.domain import Aggregate

LONGEST_PAUSE: Final = timedelta(minutes=1)
"""The longest pause between attempts that are repeated without end, past the pivot."""

_TO_UNDO: Final = (StepStatus.DONE, StepStatus.SKIPPED, StepStatus.UNKNOWN)
_ACTIVE: Final = (
    StepStatus.WAITING,
    StepStatus.RUNNING,
    StepStatus.UNSETTLED,
    StepStatus.UNDOING,
)
_SKIPPED_FORWARDS: Final = (StepStatus.WAITING, StepStatus.RUNNING, StepStatus.REFUSED)
_SKIPPED_BACKWARDS: Final = (StepStatus.UNSETTLED, StepStatus.UNDOING, StepStatus.UNDO_FAILED)
_KINDS: Final[dict[StepStatus, Kind]] = {
    StepStatus.RUNNING: "do",
    StepStatus.UNSETTLED: "settle",
    StepStatus.UNDOING: "undo",
}


class SagaProcess(Aggregate[SagaId]):
    """One saga, whatever its kind: a stream of what has happened to it."""

    stream_prefix = "saga"
    snapshot_every = 50
    not_found = SagaNotFound
    state: SagaState

    @classmethod
    def start(
        cls,
        id: SagaId,
        definition: SagaDefinition[Any],
        fields: str,
        now: datetime,
        *,
        actor: str | None,
        tenant: str | None,
        correlation: str | None,
    ) -> "SagaProcess":
        started = SagaStarted(
            saga=definition.name,
            fingerprint=definition.fingerprint,
            fields=fields,
            steps=definition.order,
            at=now,
            deadline=now + definition.timeout if definition.timeout else None,
            actor=actor,
            tenant=tenant,
            correlation=correlation,
        )
        process = cls.begin(id, started)
        process._go_on(definition, now)
        return process

    def apply(self, event: SagaEvent) -> None:
        self.state = begun(event) if isinstance(event, SagaStarted) else evolve(self.state, event)

    # --- outcomes of steps -----------------------------------------------------------------------------------------

    def report(self, definition: SagaDefinition[Any], action: Action, outcome: ActionOutcome, now: datetime) -> None:
        """Record an outcome. An outcome of an action that is no longer wanted is ignored."""
        step = self.state.step(action.step)
        if self.state.ended or action != Action(_KINDS.get(step.status, "do"), step.name, step.outcomes):
            return
        match outcome:
            case Done(changes=changes) if action.kind == "do":
                self.record(StepDone(step=step.name, changes=changes, at=now))
            case Done(changes=changes):
                self.record(UndoDone(step=step.name, changes=changes, at=now))
            case Settled(ran=ran, changes=changes):
                self.record(StepSettled(step=step.name, ran=ran, changes=changes, at=now))
            case Refused() if action.kind == "do":
                self._refused(definition, step, outcome, now)
            case Refused(detail=detail, command=command):
                self.record(UndoTried(step=step.name, error=detail, command=command, retry_at=None, at=now))
            case Unknown() if action.kind == "do":
                self._tried(definition, step, outcome, now)
            case Unknown(error=error):
                retry_at = _next_try(definition.steps[step.name].undo_retry, step.undo_attempts + 1, now)
                self.record(UndoTried(step=step.name, error=error, command="", retry_at=retry_at, at=now))
        self._go_on(definition, now)

    def _refused(self, definition: SagaDefinition[Any], step: StepState, refusal: Refused, now: datetime) -> None:
        self.record(
            StepRefused(
                step=step.name,
                code=refusal.code,
                detail=refusal.detail,
                command=refusal.command,
                certain=refusal.certain,
                changes=refusal.changes,
                at=now,
            )
        )
        turned_down = step.name == definition.pivot and refusal.certain
        if turned_down or not self.state.past_pivot:
            self._turn_round(definition, refusal.code, refusal.detail, now)

    def _tried(self, definition: SagaDefinition[Any], step: StepState, outcome: Unknown, now: datetime) -> None:
        retry = definition.steps[step.name].retry
        if definition.past_pivot(step.name):
            retry_at: datetime | None = now + min(retry.pause_after(step.attempts + 1), LONGEST_PAUSE)
        else:
            retry_at = _next_try(retry, step.attempts + 1, now)
            if retry_at is not None and step.deadline is not None and retry_at >= step.deadline:
                retry_at = None
        self.record(StepTried(step=step.name, error=outcome.error, changes=outcome.changes, retry_at=retry_at, at=now))
        if retry_at is None:
            # Without the error, which is for operators: this reason is shown to the user that waits for the saga.
            self._turn_round(definition, "outcome-unknown", f"{step.name} couldn't be done.", now)

    def is_late(self, now: datetime) -> bool:
        """Whether something has taken too long."""
        return self._late(now) is not None

    def expire(self, definition: SagaDefinition[Any], now: datetime) -> None:
        """End what has taken too long."""
        late = self._late(now)
        if late is None:
            return
        if self.state.past_pivot:
            self.record(SagaStuck(reason=f"{late} took too long", at=now))
        else:
            self._turn_round(definition, "timed-out", f"{late} took too long.", now)
            self._go_on(definition, now)

    def _late(self, now: datetime) -> str | None:
        if self.state.status is not Status.RUNNING:
            return None
        past_pivot = self.state.past_pivot
        for step in self.state.steps:
            if step.deadline is not None and step.deadline <= now and step.can_be_late(past_pivot=past_pivot):
                return step.name
        whole = self.state.deadline
        return "The whole" if whole is not None and whole <= now and not past_pivot else None

    def arrive(self, step: str, event: str, now: datetime) -> None:
        """Keep an event that a step waits for, now or later; only the first event counts."""
        known = next((known for known in self.state.steps if known.name == step), None)
        going_on = self.state.status in (Status.RUNNING, Status.STUCK) and not self.state.turned
        if known is not None and going_on and not known.event:
            self.record(EventArrived(step=step, event=event, at=now))

    # --- operators --------------------------------------------------------------------------------------------------

    def retry(self, definition: SagaDefinition[Any], reason: str, now: datetime) -> None:
        """Try again what has failed in a stuck saga."""
        _require_said(reason)
        if self.state.status is not Status.STUCK:
            raise SagaEnded(status=self.state.status)
        self.record(SagaRetried(reason=reason, at=now))
        for step in self.state.steps:
            if step.status is StepStatus.WAITING:
                self._begin(definition, step.name, now)  # the step gets its full time again
        self._go_on(definition, now)

    def skip(self, definition: SagaDefinition[Any], step: str, value: Fields, reason: str, now: datetime) -> None:
        """Count a step, or its compensation, as done, with `value` for some of the saga's fields."""
        _require_said(reason)
        self._require_open()
        skippable = _SKIPPED_BACKWARDS if self.state.turned else _SKIPPED_FORWARDS
        if step not in definition.steps or self.state.step(step).status not in skippable:
            raise UnknownStep(step=step)
        try:
            changes = definition.checked(self.state.fields, value)
        except msgspec.ValidationError as problem:
            raise UnfitFields(problem=str(problem)) from None
        self.record(StepSkipped(step=step, changes=changes, reason=reason, at=now))
        self._go_on(definition, now)

    def compensate(self, definition: SagaDefinition[Any], reason: str, now: datetime) -> None:
        """Begin to compensate."""
        _require_said(reason)
        if self.state.past_pivot:
            raise PastPivot()
        if self.state.status is not Status.RUNNING:
            raise SagaEnded(status=self.state.status)
        self._turn_round(definition, "ordered", reason, now)
        self._go_on(definition, now)

    def resolve(self, note: str, now: datetime) -> None:
        """End the saga in its present state: an operator has settled the matter by other means."""
        _require_said(note)
        self._require_open()
        self.record(SagaResolved(note=note, at=now))

    def _require_open(self) -> None:
        if self.state.ended:
            raise SagaEnded(status=self.state.status)

    # --- consequences -----------------------------------------------------------------------------------------------

    def actions(self, now: datetime) -> tuple[Action, ...]:
        """The actions to run now."""
        if self.state.status not in (Status.RUNNING, Status.COMPENSATING):
            return ()
        return tuple(
            Action(_KINDS[step.status], step.name, step.outcomes)
            for step in self.state.steps
            if step.status in _KINDS and (step.retry_at is None or step.retry_at <= now)
        )

    def _turn_round(self, definition: SagaDefinition[Any], code: str, reason: str, now: datetime) -> None:
        unsettled = tuple(
            step.name
            for step in self.state.steps
            if step.name in definition.undo_dependencies and only_commands(definition, step.name) and _is_open(step)
        )
        self.record(CompensationBegun(code=code, reason=reason, unsettled=unsettled, at=now))

    def _go_on(self, definition: SagaDefinition[Any], now: datetime) -> None:
        """Record everything that follows from what was recorded."""
        if self.state.status is Status.RUNNING:
            self._go_forward(definition, now)
        elif self.state.status is Status.COMPENSATING:
            self._go_back(definition, now)

    def _go_forward(self, definition: SagaDefinition[Any], now: datetime) -> None:
        done = {s.name for s in self.state.steps if s.status in (StepStatus.DONE, StepStatus.SKIPPED)}
        for step in self.state.steps:
            if step.status is StepStatus.IDLE and done.issuperset(definition.steps[step.name].after):
                self._begin(definition, step.name, now)
        if len(done) == len(self.state.steps):
            self.record(SagaCompleted(at=now))
        elif not any(step.status in _ACTIVE for step in self.state.steps):
            refused = [f"{s.name} was refused: {s.error}" for s in self.state.steps if s.status is StepStatus.REFUSED]
            self.record(SagaStuck(reason="; ".join(refused), at=now))

    def _begin(self, definition: SagaDefinition[Any], name: str, now: datetime) -> None:
        step = definition.steps[name]
        waits = step.saga_of is not None
        deadline = None if definition.past_pivot(name) and not waits else now + step.timeout
        self.record(StepBegun(step=name, waits=waits, pivot=step.pivot, at=now, deadline=deadline))

    def _go_back(self, definition: SagaDefinition[Any], now: datetime) -> None:
        for name in list(self._to_undo(definition)):
            self.record(UndoBegun(step=name, at=now))
        if any(step.status in _ACTIVE for step in self.state.steps):
            return
        failed = [step.name for step in self.state.steps if step.status is StepStatus.UNDO_FAILED]
        if failed:
            self.record(SagaStuck(reason=f"{', '.join(failed)} can't be undone", at=now))
        else:
            self.record(SagaCompensated(at=now))

    def _to_undo(self, definition: SagaDefinition[Any]) -> Iterator[str]:
        """The steps that may have run, and after which nothing is still to be undone."""
        for step in self.state.steps:
            if _may_have_run(definition, step) and not any(
                self.state.step(later).status in _ACTIVE or _may_have_run(definition, self.state.step(later))
                for later in definition.successors(step.name)
            ):
                yield step.name


def _require_said(reason: str) -> None:
    if not reason.strip():
        raise BlankReason()


def only_commands(definition: SagaDefinition[Any], step: str) -> bool:
    """Whether a step has effects only through commands with keys: then the outcome of each can be looked up."""
    wanted = definition.dependencies[step].values()
    return all(isinstance(hint, type) and issubclass(hint, Api) for hint in wanted)


def _may_have_run(definition: SagaDefinition[Any], step: StepState) -> bool:
    if step.name not in definition.undo_dependencies:
        return False
    return step.status in _TO_UNDO or (step.status is StepStatus.REFUSED and not step.certain)


def _is_open(step: StepState) -> bool:
    """Whether it is unknown what the step has changed."""
    refused = step.status is StepStatus.REFUSED and not step.certain
    return refused or step.status in (StepStatus.RUNNING, StepStatus.UNKNOWN)


def _next_try(retry: Retry, attempt: int, now: datetime) -> datetime | None:
    return None if attempt >= retry.attempts else now + retry.pause_after(attempt)
