"""What happens to a saga: the events of its stream."""

from typing import Annotated, Any

from craton.domain import Event, Id
from craton.domain.immutability import UNCHANGED
from craton.domain.value import Instant

Fields = Annotated[dict[str, Any], UNCHANGED]
"""Some of a saga's fields, as plain data."""


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
    pivot: bool
    at: Instant
    deadline: Instant | None


class EventArrived(Event):
    """The event that a step waits for, or will."""

    step: str
    event: str
    at: Instant


class StepDone(Event):
    step: str
    changes: Fields
    """Of the saga's fields."""
    at: Instant


class StepRefused(Event):
    step: str
    code: str
    detail: str
    command: str
    """Which of its commands was refused; "" if it was the step itself that said no."""
    certain: bool
    """Whether it is certain that the step has changed nothing."""
    changes: Fields
    at: Instant


class StepTried(Event):
    """An attempt whose outcome is unknown."""

    step: str
    error: str
    changes: Fields
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
    changes: Fields
    at: Instant


class UndoBegun(Event):
    step: str
    at: Instant


class UndoDone(Event):
    step: str
    changes: Fields
    at: Instant


class UndoTried(Event):
    """An attempt to undo (or to find out whether there is something to undo) that hasn't succeeded."""

    step: str
    error: str
    command: str
    """Which of its commands was refused; "" if none was."""
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
    changes: Fields
    reason: str
    at: Instant


class SagaResolved(Event):
    """An operator has settled the matter by other means."""

    note: str
    at: Instant


SagaChange = (
    StepBegun
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
SagaEvent = SagaStarted | SagaChange
