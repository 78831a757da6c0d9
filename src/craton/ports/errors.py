"""The errors and refusals of a store."""


class StoreUnavailable(Exception):
    """The store can't be reached or can't write. `maybe_executed`: the unit may have been committed all the same."""

    def __init__(self, reason: str, *, maybe_executed: bool) -> None:
        super().__init__(reason)
        self.maybe_executed = maybe_executed


class LogUnavailable(StoreUnavailable):
    """The log of another service can't be read now. The adapter has said so in the program's own log."""


class StoreUnsuitable(StoreUnavailable):
    """The server or file can't hold a store, and trying again doesn't help. The sentence says what must be changed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, maybe_executed=False)


class ChangesetRefused(Exception):
    """One unit of a batch was refused and nothing of it was written. The batch's other units are not affected."""


class VersionConflict(ChangesetRefused):
    """A stream isn't at the version that the unit was decided on."""

    def __init__(self, stream: str) -> None:
        super().__init__(f"stream {stream!r} has changed since it was read")
        self.stream = stream


class KeyTaken(ChangesetRefused):
    """Another unit with the same idempotency key was written first."""


class FenceLost(ChangesetRefused):
    """The lease under which the unit was made has passed to another owner."""


class DocumentChanged(ChangesetRefused):
    """A document isn't at the revision that the unit was decided on."""


class TableTaken(ChangesetRefused):
    """A table that the unit was to create already exists."""


class NothingParked(ChangesetRefused):
    """An operator's request names an event that isn't parked, or isn't parked any more."""

    def __init__(self, subscription: str, position: int) -> None:
        super().__init__(f"nothing is parked at position {position} of {subscription}")


class PositionPassed(ChangesetRefused):
    """A checkpoint, or the log, is beyond the position that the unit relied on."""


class SerializationConflict(ChangesetRefused):
    """An interactive transaction collided with another one; it may succeed when it is run again."""


class NotUnique(ChangesetRefused):
    """A row has a value that another row of its table has and that must be unique."""

    def __init__(self, table: str, column: str) -> None:
        super().__init__(f"another row of {table} has the same {column}")
        self.table = table
        self.column = column


class StatementFailed(ChangesetRefused):
    """A statement can't be carried out: wrong SQL, a value that doesn't fit, a unit whose parts contradict each other.

    Reads raise it too. The store itself is well, and the same statement will fail again.
    """
