"""The ports of a module's store. `Store` is all of them: one adapter, one database, one module."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from craton.ports.errors import ChangesetRefused, StoreUnavailable
from craton.ports.records import (
    Changeset,
    Document,
    EventFilter,
    EventKind,
    FeedPage,
    HeldLease,
    ParkedEvent,
    Query,
    Statement,
    StoredEvent,
    StoredResult,
    StreamState,
    Table,
    Timer,
)

WriteOutcome = int | ChangesetRefused | StoreUnavailable
Isolation = Literal["read committed", "repeatable read", "serializable"]

LONGEST_LEASE_SECONDS: Final = 60.0
"""The longest time a lease is asked for. An expiry further away stems from a clock that was set back, and is void."""

OWN_TABLES: Final = frozenset(
    [
        "checkpoints",
        "documents",
        "events",
        "layout",
        "lease_owners",
        "leases",
        "parked",
        "parked_events",
        "readers",
        "request_limits",
        "results",
        "snapshots",
        "timers",
    ]
)
"""The names of tables that a store makes, or once made, for itself. A module's own tables must have other names."""


class EventLog(Protocol):
    """The events of a module, by stream and in their total order."""

    async def load(self, streams: Sequence[tuple[str, str]]) -> Sequence[StreamState]:
        """Read streams, each named with the snapshot fingerprint that its reader understands.

        They are read in one round trip, in their state at one moment. A name that can't be stored counts as a stream
        without events.
        """

    async def read_stream(
        self, stream: str, *, after: int = 0, limit: int, descending: bool = False
    ) -> Sequence[StoredEvent]:
        """Read events of one stream: versions above `after` or, if descending, below it (0: from the end)."""

    async def read_feed(self, after: int, limit: int) -> FeedPage:
        """Read committed events after a position. None is ever skipped: gaps are proven dead, not timed out.

        The events of a unit have consecutive places, and a page holds a unit completely or not at all: it has at most
        `limit` events or, if the first unit alone has more, that unit.
        """

    async def head(self) -> int:
        """The position of the newest committed event, 0 when there is none."""

    async def search(
        self, wanted: EventFilter, before: int, limit: int, scanned: int
    ) -> tuple[Sequence[StoredEvent], int]:
        """Search for events, newest first, before a position (0: from the end).

        At most `scanned` events are looked at, because only streams have an index: any other index would cost every
        append more than this search is worth. Returns at most `limit` events, and the position down to which all events
        were found (0: the beginning of the log).
        """

    async def kinds(self, after: int) -> Sequence[EventKind]:
        """The kinds of events after a position. This reads all of them, which may take a while."""


class ChangesetWriter(Protocol):
    """The only way to change anything."""

    writers: int
    """How many batches may be written at the same time."""

    async def write(self, units: Sequence[Changeset]) -> Sequence[WriteOutcome]:
        """Write units in order, durably. Returns for each the position of its last event (0: none), or its refusal.

        Units that build on a stream of a refused unit are refused with it. Raises `StoreUnavailable` when the whole
        batch failed; where only a part failed, that is the outcome of those units.
        """

    def transaction(self, isolation: Isolation) -> AbstractAsyncContextManager["Transaction"]:
        """Open an interactive transaction. It commits when the block ends without an error; otherwise it rolls back."""


class Transaction(Protocol):
    """A real transaction, open on one connection."""

    async def execute(self, statement: Statement) -> int:
        """Run a statement; return how many rows it changed."""

    async def fetch(self, statement: Statement) -> Sequence[dict[str, Any]]:
        """Run a statement; return its rows."""

    async def write(self, unit: Changeset) -> int:
        """Write a unit inside this transaction. Raises `ChangesetRefused`.

        Readers of the feed see each unit of a transaction whole; a page may end between two of them.
        """


class Tables(Protocol):
    """The tables of read models."""

    async def create_table(self, table: Table) -> None:
        """Create the table, with its unique indexes, unless it exists. The tables of a read model's generation are
        created by a unit instead (`Changeset.tables`), which refuses tables that exist."""

    async def create_indexes(self, table: Table) -> None:
        """Create the other indexes unless they exist. Raises `StatementFailed` if a row doesn't fit in one."""

    async def drop_table(self, name: str) -> None: ...

    async def get_rows(self, table: Table, keys: Sequence[tuple[Any, ...]]) -> Sequence[str | None]:
        """Read rows by key, in the order of the keys, in their state at one moment."""

    async def find_rows(self, table: Table, query: Query) -> tuple[Sequence[str], int]:
        """Read a page of rows, and the number of rows on all pages, in their state at one moment."""

    async def sum_rows(self, table: Table, column: str, by: Sequence[str], query: Query) -> dict[tuple[Any, ...], int]:
        """Return the sum of a column, grouped by others."""


class Records(Protocol):
    """Results of commands, checkpoints, documents, timers: read here, written in units."""

    async def find_result(self, scope: str, key: str) -> StoredResult | None: ...

    async def forget_results(
        self, before: datetime, after: tuple[str, str], limit: int, spared: str
    ) -> tuple[str, str] | None:
        """Look at some results after a scope and key, and forget those given before a time, except those whose key
        begins with `spared`.

        Returns the scope and key of the last one looked at; None when there are no more.
        """

    async def checkpoint(self, subscription: str) -> int: ...

    async def document(self, name: str) -> Document | None: ...

    async def due_timers(self, now: datetime, limit: int) -> Sequence[Timer]:
        """Timers that are due, the oldest first, without parked ones."""

    async def next_timer(self) -> datetime | None:
        """When the next timer is due, parked ones excluded; None when there is none."""

    async def timers(self, limit: int, offset: int, *, parked: bool | None = None) -> tuple[Sequence[Timer], int]:
        """A page of the timers in the order in which they are due, and the number of all timers."""

    async def timer_operations(self) -> Sequence[str]:
        """The commands of the timers that aren't parked, each once."""

    async def fetch(self, statement: Statement) -> Sequence[dict[str, Any]]:
        """Run a reading statement outside of any transaction. Raises `StatementFailed`."""


class Parking(Protocol):
    """Events and timers that wait for an operator."""

    async def parked_timers(self) -> Sequence[Timer]:
        """The timers that are parked, in the order in which they were due."""

    async def parked(self, subscription: str | None = None) -> Sequence[ParkedEvent]:
        """The parked events, in order of position."""

    async def dropped(self, subscription: str) -> Sequence[int]:
        """The positions of dropped events, in order."""

    async def parked_events(self, subscription: str, key: str, limit: int) -> Sequence[StoredEvent]:
        """The events parked under a key, in order. They may belong to another module's log."""


class Leases(Protocol):
    """Leases: each lets one process at a time do something."""

    async def acquire(self, lease: str, owner: str, seconds: float) -> int | None:
        """Take or renew a lease. Returns its fencing number, or None while another owner holds it.

        `seconds` is at most `LONGEST_LEASE_SECONDS`.
        """

    async def release(self, lease: str, owner: str) -> None: ...

    async def leases(self) -> Sequence[HeldLease]:
        """All leases that were ever taken, by name."""


class Store(EventLog, ChangesetWriter, Tables, Records, Parking, Leases, Protocol):
    """One module's store.

    Every method raises `StatementFailed` for something that can't be carried out, and `StoreUnavailable` when the store
    itself has failed. Errors of the database's driver never get out.
    """

    shared: bool
    """Whether other processes may write to it without a notice, so that the store must be polled."""

    async def exists(self) -> bool:
        """Whether the store exists; it need not be open. Raises `StoreUnavailable`."""

    async def open(self, *, upgrade: bool = True) -> None:
        """Connect, create what is missing, and upgrade the tables of an earlier version.

        Raises `StoreUnavailable`, or `StoreUnsuitable` for tables of another version that aren't to be upgraded.
        """

    async def close(self) -> None: ...

    async def ping(self) -> None:
        """Raise `StoreUnavailable` unless it can be read."""

    def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake` when another process has written. This is a hint: it may be late, lost or for nothing."""
