"""Failures of calls, as opposed to refusals of the domain."""

from craton.domain import Conflict, DomainError, InvalidValue


class CallFailed(Exception):
    """A call didn't come to an answer."""

    code = "failed"


class Unavailable(CallFailed):
    """What the call needs can't be reached now. `maybe_executed` tells whether it may have run all the same."""

    code = "unavailable"

    def __init__(self, reason: str, *, maybe_executed: bool, retry_after: int = 1) -> None:
        super().__init__(reason)
        self.maybe_executed = maybe_executed
        self.retry_after = retry_after


class DeadlineExceeded(Unavailable):
    """The call's time was over before its answer was there."""

    code = "deadline-exceeded"


class WiringError(Exception):
    """The application is put together wrongly. Says what and where, at start."""


class MisuseError(Exception):
    """Code has used the toolkit in a way that would break a law of it."""


class AlreadyExists(Conflict):
    """There is one with this id already."""

    id: str

    def __str__(self) -> str:
        return f"{self.id} exists already."


class ValueTaken(Conflict):
    """Another one has this value, and it must be unique."""

    field: str

    def __str__(self) -> str:
        return f"Another one has the same {self.field}."


class StaleVersion(DomainError):
    """It has changed since the version that the caller has seen."""

    temporary = True
    current: int

    def __str__(self) -> str:
        return f"It has changed since; its version is now {self.current}."


class Overtaken(Conflict):
    """What asked for the command has been called off since, so that it never runs."""


class KeyReused(InvalidValue):
    """The idempotency key was used before, for another request."""

    code = "idempotency-key-reused"
