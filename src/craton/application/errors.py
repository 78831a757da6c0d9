"""Failures of calls, in contrast to refusals by the domain."""

from craton.domain import AggregateNotFound, Conflict, DomainError, InvalidValue


class CallFailed(Exception):
    """A call ended without an answer."""

    code = "failed"


class Unavailable(CallFailed):
    """Something that the call needs can't be reached now. `maybe_executed`: the call may still have run."""

    code = "unavailable"

    def __init__(self, reason: str, *, maybe_executed: bool, retry_after: int = 1) -> None:
        super().__init__(reason)
        self.maybe_executed = maybe_executed
        self.retry_after = retry_after


class DeadlineExceeded(Unavailable):
    """The call's deadline passed before there was an answer."""

    code = "deadline-exceeded"


class NeedsNewerProgram(Unavailable):
    """The call needs an event that a newer version of the program has written. Nothing was begun; a process of that
    version can carry it out."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, maybe_executed=False)


class KeyReused(CallFailed):
    """The idempotency key was used before, for another request. The outcome of that request stands."""

    code = "idempotency-key-reused"

    def __init__(self) -> None:
        super().__init__("The idempotency key was used before, for another request. Use a new key for a new request.")


class AnswerNotKept(CallFailed):
    """The command with this idempotency key has run, but its answer wasn't kept."""

    code = "answer-not-kept"

    def __init__(self) -> None:
        super().__init__(
            "The request with this idempotency key was carried out before; its answer is secret, or of an older form, "
            "and can't be given again. To have it carried out once more, use a new key."
        )


class WiringError(Exception):
    """The application is put together wrongly. Raised at start, with the place and the reason."""


class MisuseError(Exception):
    """Code has used the toolkit in a way that would break one of its guarantees."""


class NotStorable(MisuseError):
    """A value was to be written that couldn't be read back unchanged. Nothing was written."""


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
    """It has changed since the version that the caller saw."""

    temporary = True
    current: int
    """The present version; 0: it doesn't exist."""

    def __str__(self) -> str:
        if not self.current:
            return "Nothing here has the version that the request asks for."
        return f"It has changed since then; its version is now {self.current}."


class Overtaken(Conflict):
    """The request behind this command was cancelled meanwhile, so the command never runs."""
