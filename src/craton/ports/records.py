"""The plain records that pass through the ports. Payloads are JSON text: adapters store them without reading them."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from msgspec import Struct, field
from msgspec.structs import astuple

ColumnType = Literal["text", "integer", "real", "boolean", "time"]

INLINE: Final = "inline"
"""The document that lists the live inline projections. A unit names the revision that its events were made for."""
MAX_NAME_BYTES: Final = 63
"""Postgres cuts off names of tables, columns and indexes at this length, without an error."""
_HASH_DIGITS: Final = 10


def stored_name(name: str, most: int = MAX_NAME_BYTES) -> str:
    """A unique name of at most `most` bytes: the end of a longer name is replaced by a hash of the whole."""
    if len(name.encode()) <= most:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=_HASH_DIGITS // 2).hexdigest()
    return f"{name.encode()[: most - _HASH_DIGITS - 1].decode(errors='ignore')}_{digest}"


class NewEvent(Struct, frozen=True):
    stream: str
    version: int
    id: str
    type: str
    schema_version: int
    data: str
    metadata: str
    time: datetime

    def at(self, position: int, *, last: bool) -> "StoredEvent":
        """The event as it stands in the log."""
        return StoredEvent(*(*astuple(self), position, last))


class StoredEvent(Struct, frozen=True):
    """An event of the log: the same fields, its position, and whether it is the last event of its unit."""

    stream: str
    version: int
    id: str
    type: str
    schema_version: int
    data: str
    metadata: str
    time: datetime
    position: int
    last: bool = True


class EventFilter(Struct, frozen=True, kw_only=True):
    """The events that a search looks for; None matches any."""

    stream: str | None = None
    type: str | None = None
    actor: str | None = None
    correlation: str | None = None
    start: datetime | None = None
    """Events of this time or later."""
    end: datetime | None = None
    """Events before this time."""


class EventKind(Struct, frozen=True):
    """A kind of events in the log: its stream prefix, type and schema version."""

    prefix: str
    type: str
    schema_version: int


class Snapshot(Struct, frozen=True):
    """The state of an aggregate at a version; `fingerprint` identifies the shape of that state."""

    stream: str
    version: int
    fingerprint: str
    state: str


class StreamState(Struct, frozen=True):
    """What an aggregate is loaded from: its newest usable snapshot, and the events after the snapshot."""

    snapshot: Snapshot | None
    events: Sequence[StoredEvent]
    time: datetime | None
    """The time of the newest event, None when there is none."""


class FeedPage(Struct, frozen=True):
    """Events in order, and the position up to which no event is missing (it may be larger than the last event's).

    A page ends where a unit ends, so that a page's effects, written in one commit, never show half a unit.
    """

    events: Sequence[StoredEvent]
    position: int


class Append(Struct, frozen=True):
    """Events for one stream, which must be at the version `expected` (0: the stream doesn't exist yet)."""

    stream: str
    expected: int
    events: Sequence[NewEvent]


class StoredResult(Struct, frozen=True):
    """The answer to a command with an idempotency key. `scope` is caller and method, `fingerprint` the request's."""

    scope: str
    key: str
    fingerprint: str
    outcome: str
    time: datetime
    """When the answer was given: old answers are forgotten."""
    position: int = 0


class Timer(Struct, frozen=True):
    """A command that runs at a time. The timer's id is also the command's idempotency key."""

    id: str
    due: datetime
    operation: str
    arguments: str
    metadata: str
    attempts: int = 0
    """How often its command has run without success."""
    failures: int = 0
    """How many of these attempts count towards parking."""
    error: str = ""
    """Why the last attempt had no success."""
    parked: bool = False
    """Whether it waits for an operator and isn't tried."""


class HeldLease(Struct, frozen=True):
    """A lease in its present state: its last owner, and whether that owner still holds it."""

    name: str
    owner: str
    number: int
    held: bool


class Fence(Struct, frozen=True):
    """Proof of holding a lease: the number grows each time the lease changes hands."""

    lease: str
    number: int


class Document(Struct, frozen=True):
    """A small piece of state. It is replaced only if it is still at the revision before this one (1: it is new)."""

    name: str
    revision: int
    body: str


class ParkedEvent(Struct, frozen=True):
    """An event that its subscription couldn't handle, or that waits behind one with the same key that couldn't."""

    subscription: str
    position: int
    key: str
    error: str
    attempts: int
    since: datetime
    operator_request: Literal["", "retry", "drop"] = ""
    """The request that the subscription's owner carries out as soon as it can. A `drop` isn't overwritten."""
    event: StoredEvent | None = None
    """The event itself, given when it is parked. `parked_events` reads it; lists of parked events leave it out."""


class OperatorRequest(Struct, frozen=True):
    """An operator's request: try a parked event again, with all events of its key, or drop it."""

    subscription: str
    position: int
    request: Literal["retry", "drop"]


class TableColumn(Struct, frozen=True):
    name: str
    type: ColumnType
    unique: bool = False
    indexed: bool = False
    search: bool = False
    """It holds a text in folded case, which is only searched for parts."""


class Table(Struct, frozen=True):
    """A table of a read model: key columns, columns to search and sort by, and the row itself as JSON."""

    name: str
    key: tuple[TableColumn, ...]
    indexes: tuple[TableColumn, ...]

    @property
    def columns(self) -> tuple[TableColumn, ...]:
        return self.key + self.indexes


class StoredRow(Struct, frozen=True):
    key: tuple[Any, ...]
    indexed: tuple[Any, ...]
    row: str


class RowPut(Struct, frozen=True):
    table: Table
    row: StoredRow


class RowDelete(Struct, frozen=True):
    table: Table
    key: tuple[Any, ...]


class RowFold(Struct, frozen=True):
    """Replace a row by the result of `fold`, inside the writing transaction. `fold` maps None to None or a new row."""

    table: Table
    key: tuple[Any, ...]
    fold: Callable[[str | None], StoredRow | None]


RowOperation = RowPut | RowDelete | RowFold


class Range(Struct, frozen=True):
    """Values from `start` (included) to `end` (excluded); None leaves that side open."""

    start: Any = None
    end: Any = None


class Query(Struct, frozen=True):
    """Rows that meet the conditions in `where` (equal to, within a range, or containing), ordered by one column."""

    where: dict[str, Any] = field(default_factory=dict)
    contains: dict[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    descending: bool = False
    limit: int = 20
    offset: int = 0


class Statement(Struct, frozen=True):
    """Plain SQL with `:named` parameters, for the module's own tables."""

    sql: str
    parameters: dict[str, Any]


class Changeset(Struct, kw_only=True):
    """All changes of one use case. They are written completely or not at all."""

    appends: Sequence[Append] = ()
    guards: Sequence[tuple[str, int]] = ()
    """Streams that were only read, and the versions that they must still be at."""
    snapshots: Sequence[Snapshot] = ()
    result: StoredResult | None = None
    project: Callable[[Sequence[StoredEvent]], Sequence[RowOperation]] | None = None
    """Inline projections: this is called with the stored events inside the transaction."""
    rows: Sequence[RowOperation] = ()
    statements: Sequence[Statement] = ()
    timers: Sequence[Timer] = ()
    timers_done: Sequence[str] = ()
    fence: Fence | None = None
    checkpoint: tuple[str, int] | None = None
    checkpoint_at_most: tuple[str, int] | None = None
    """A subscription and the position that its checkpoint must not have passed."""
    parked: Sequence[ParkedEvent] = ()
    operator_requests: Sequence[OperatorRequest] = ()
    unparked: Sequence[tuple[str, int]] = ()
    dropped: Sequence[tuple[str, int]] = ()
    """Parked events that were dropped. They are remembered, so that verification can leave them out."""
    documents: Sequence[Document] = ()
    tables: Sequence[Table] = ()
    """Tables to create, with their unique indexes. A table that already exists refuses the unit (`TableTaken`)."""
    indexes: Sequence[Table] = ()
    """Tables that get their other indexes as well."""
    inline: int | None = None
    """The revision of the document `INLINE` that its events were made for (0: it doesn't exist). At another revision
    the unit is refused (`DocumentChanged`). None: its events are appended whichever inline projections are live."""
    relies_on: Sequence[tuple[str, int]] = ()
    """Documents that must be at these revisions, and must stay there until the commit."""
    head_at_most: int | None = None
    """The log must not have grown beyond this position; checked after `documents` are replaced."""

    @property
    def exclusive(self) -> bool:
        """Whether no process may be appending events while this unit is written."""
        return self.head_at_most is not None or any(document.name == INLINE for document in self.documents)

    @property
    def streams(self) -> set[str]:
        """The streams that it appends to or relies on."""
        return {append.stream for append in self.appends} | {stream for stream, _ in self.guards}

    @property
    def plain(self) -> bool:
        """Whether it holds only events, guards, snapshots and an idempotency result."""
        return not (
            self.project
            or self.rows
            or self.statements
            or self.timers
            or self.timers_done
            or self.fence
            or self.checkpoint
            or self.parked
            or self.operator_requests
            or self.unparked
            or self.dropped
            or self.documents
            or self.tables
            or self.indexes
            or self.relies_on
            or self.checkpoint_at_most
            or self.head_at_most is not None
        )
