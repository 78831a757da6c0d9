"""Failures of calls, as opposed to refusals of the domain."""

from craton.domain import AggregateNotFound, Conflict, DomainError, InvalidValue


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


class KeyReused(CallFailed):
    """The idempotency key was used before, for another request. What came of that request stands."""

    code = "idempotency-key-reused"

    def __init__(self) -> None:
        super().__init__("The idempotency key was used before, for another request. Use a new key for a new request.")


class AnswerNotKept(CallFailed):
    """The command with this idempotency key has run, but its answer can't be given again."""

    code = "answer-not-kept"

    def __init__(self) -> None:
        super().__init__(
            "The request with this idempotency key was carried out before; its answer is secret, or of an older form, "
            "and can't be given again. To have it carried out once more, use a new key."
        )


class WiringError(Exception):
    """The application is put together wrongly. Says what and where, at start."""


class MisuseError(Exception):
    """Code has used the toolkit in a way that would break a law of it."""


class NotStorable(MisuseError):
    """What was to be written could not be read back as it is. Nothing was written."""


class AlreadyExists(Conflict):
    """There is one with this id already."""

    id: str

    def __str__(self) -> str:
        return f"{self.id} exists already."


class RowNotFound(AggregateNotFound):
    """There is no row with this key."""


class UnusableId(InvalidValue):
    """An id must have 1 to 255 characters, and neither NUL nor half a surrogate pair among them."""


class UnusableKey(InvalidValue):
    """An idempotency key must have 1 to 1,000 characters, and neither NUL nor half a surrogate pair among them."""


class ValueTaken(Conflict):
    """Another one has this value, and it must be unique."""

    field: str

    def __str__(self) -> str:
        return f"Another one has the same {self.field}."


class StaleVersion(DomainError):
    """It has changed since the version that the caller has seen."""

    temporary = True
    current: int
    """0: there is no such thing."""

    def __str__(self) -> str:
        if not self.current:
            return "There is nothing here that has the version which the request asks for."
        return f"It has changed since; its version is now {self.current}."


class Overtaken(Conflict):
    """What asked for the command has been called off since, so that it never runs."""
