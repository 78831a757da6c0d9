"""The refusals of operators' requests."""

from craton.domain import Conflict, InvalidValue, NotFound


class ModuleNotFound(NotFound):
    """There is no such module."""


class ProjectionNotFound(NotFound):
    """There is no such projection."""


class AmbiguousProjection(InvalidValue):
    """Several projections have this name; use module.name."""

    projections: tuple[str, ...]

    def __str__(self) -> str:
        return f"Several projections have this name: {', '.join(self.projections)}."


class NoRollback(Conflict):
    """There is no generation to go back to."""

    reason: str

    def __str__(self) -> str:
        return f"{self.reason}."


class ParkedNotFound(NotFound):
    """No parked event matches."""


class NotHandled(Conflict):
    """No process handles the reader."""

    reader: str
    projection: str
    """Empty: this program has no reader of that name."""

    def __str__(self) -> str:
        if not self.projection:
            return f"No process handles {self.reader}: this program has no such reader."
        return (
            f"No process handles {self.reader}: another generation of {self.projection} is live, or it is inline. "
            f"To have all events tried again, use `craton projections rebuild {self.projection}`."
        )


class TimerNotFound(NotFound):
    """There is no such parked timer."""


class StreamNotFound(NotFound):
    """There is no such stream, or it had no events at that time."""


class AmbiguousStream(InvalidValue):
    """Several modules have a stream of this name; choose one module."""

    modules: tuple[str, ...]

    def __str__(self) -> str:
        return f"Several modules have a stream of this name: {', '.join(self.modules)}."


class UnreadableStream(Conflict):
    """This program can't read the stream's events."""

    reason: str

    def __str__(self) -> str:
        return f"This program can't read the stream: {self.reason}."


class UnstorableText(InvalidValue):
    """A text holds what no store can hold, so that nothing can match it."""

    argument: str

    def __str__(self) -> str:
        return f"{self.argument} holds a NUL character or half of a surrogate pair, which nothing here can hold."


class BadCursor(InvalidValue):
    """`after` must be the value of `next` in an earlier answer."""
