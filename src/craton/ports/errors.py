"""How a store says no."""


class StoreUnavailable(Exception):
    """The store can't be reached or can't write. `maybe_executed`: the unit may have been committed all the same."""

    def __init__(self, reason: str, *, maybe_executed: bool) -> None:
        super().__init__(reason)
        self.maybe_executed = maybe_executed


class StoreUnsuitable(StoreUnavailable):
    """What is there can't keep a store, and trying again doesn't help: the sentence says what has to be changed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, maybe_executed=False)


class ChangesetRefused(Exception):
    """One unit of a batch was not written, and nothing of it was. Its neighbours are not affected."""


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
    """A table that the unit was to make is there already."""


class NothingParked(ChangesetRefused):
    """An operator asks for something to be done with an event that isn't parked, or isn't any more."""

    def __init__(self, subscription: str, position: int) -> None:
        super().__init__(f"nothing is parked at position {position} of {subscription}")


class PositionPassed(ChangesetRefused):
    """A checkpoint, or the log, is beyond the position that the unit relied on."""


class SerializationConflict(ChangesetRefused):
    """An interactive transaction collided with another one; run again, it may succeed."""


class NotUnique(ChangesetRefused):
    """A row has a value that another row of its table has and that must be unique."""

    def __init__(self, table: str, column: str) -> None:
        super().__init__(f"another row of {table} has the same {column}")
        self.table = table
        self.column = column


class StatementFailed(ChangesetRefused):
    """It can't be carried out: SQL that is wrong, a value that doesn't fit, a unit whose parts contradict each other.

    Reads raise it too. The store is well; the same will fail again.
    """
