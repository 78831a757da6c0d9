"""What is refused of a saga."""

from craton.domain import AggregateNotFound, Conflict, InvalidValue


class SagaNotFound(AggregateNotFound):
    """There is no such saga."""


class SagaEnded(Conflict):
    """The saga has ended, or isn't in a state in which that makes sense."""

    status: str

    def __str__(self) -> str:
        return f"The saga is {self.status}."


class PastPivot(Conflict):
    """The saga is past its pivot: nothing is undone any more."""


class BlankReason(InvalidValue):
    """An order about a saga needs a reason."""


class UnknownStep(InvalidValue):
    """The saga has no such step, or it isn't one that can be skipped now."""

    step: str

    def __str__(self) -> str:
        return f"{self.step!r} is no step that could be skipped now."


class UnfitFields(InvalidValue):
    """The saga's fields can't hold these values."""

    problem: str

    def __str__(self) -> str:
        return f"The saga's fields can't hold these values: {self.problem}."
