"""Short functions that make what the suites write, and that read it back."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

from craton.domain import uuid7
from craton.ports import (
    Append,
    Changeset,
    NewEvent,
    RowOperation,
    RowPut,
    Store,
    StoredEvent,
    StoredRow,
    Table,
    TableColumn,
    WriteOutcome,
)

NOON: Final = datetime(2026, 5, 17, 12, 0, 0, 123456, tzinfo=UTC)

PEOPLE: Final = Table(
    "view_people_1",
    (TableColumn("id", "text"),),
    (
        TableColumn("email", "text", unique=True),
        TableColumn("age", "integer", indexed=True),
        TableColumn("weight", "real"),
        TableColumn("active", "boolean"),
        TableColumn("joined", "time", indexed=True),
        TableColumn("name", "text", search=True),
    ),
)
SEATS: Final = Table(
    "view_seats_1",
    (TableColumn("hall", "text"), TableColumn("number", "integer")),
    (TableColumn("price", "integer", indexed=True),),
)


def event(stream: str, version: int, *, data: str = "{}", time: datetime = NOON) -> NewEvent:
    return NewEvent(stream, version, uuid7(), "Happened", 1, data, '{"actor":"ann"}', time)


def append(stream: str, expected: int = 0, count: int = 1, *, data: str = "{}") -> Append:
    """Events that follow version `expected` of a stream."""
    return Append(stream, expected, [event(stream, expected + n, data=data) for n in range(1, count + 1)])


def appending(stream: str, expected: int = 0, count: int = 1, **rest: Any) -> Changeset:
    """A unit that appends to one stream."""
    return Changeset(appends=[append(stream, expected, count)], **rest)


def person(id: str, **columns: Any) -> RowPut:
    """A row of `PEOPLE`."""
    return RowPut(PEOPLE, person_row(id, **columns))


def person_row(
    id: str,
    *,
    email: str | None = None,
    age: int | None = 30,
    weight: float = 61.5,
    active: bool = True,
    joined: datetime | None = NOON,
    name: str = "",
    row: str | None = None,
) -> StoredRow:
    return StoredRow(
        (id,), (email or f"{id}@example.org", age, weight, active, joined, name), f'"{id}"' if row is None else row
    )


def seat(hall: str, number: int, price: int = 10, row: str | None = None) -> RowPut:
    """A row of `SEATS`."""
    return RowPut(SEATS, StoredRow((hall, number), (price,), f'"{hall}{number}"' if row is None else row))


async def with_tables(store: Store, *tables: Table) -> None:
    for table in tables or (PEOPLE, SEATS):
        await store.create_table(table)
        await store.create_indexes(table)


async def attempt(store: Store, unit: Changeset) -> WriteOutcome:
    """Write one unit; return its position or its refusal."""
    (outcome,) = await store.write([unit])
    return outcome


async def write(store: Store, unit: Changeset) -> int:
    """Write one unit; return its position. Raises its refusal."""
    outcome = await attempt(store, unit)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def write_each(store: Store, units: Iterable[Changeset]) -> None:
    """Write units one after the other, each in a commit of its own."""
    for unit in units:
        await write(store, unit)


@asynccontextmanager
async def meanwhile(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run something while the block runs; if the block fails, it is stopped."""
    task = asyncio.create_task(work)
    try:
        yield task
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def write_rows(store: Store, *operations: RowOperation) -> None:
    await write(store, Changeset(rows=operations))


async def versions(store: Store, stream: str) -> list[int]:
    """The versions of a stream's events, in the order in which they are read."""
    return [event.version for event in await store.read_stream(stream, limit=10_000)]


async def whole_feed(store: Store, after: int = 0, page: int = 100) -> list[StoredEvent]:
    """All events after a position, read page by page."""
    events: list[StoredEvent] = []
    while True:
        read = await store.read_feed(after, page)
        events += read.events
        if read.position == after:
            return events
        after = read.position


def numbers(outcomes: Sequence[WriteOutcome]) -> list[bool]:
    """For each outcome whether the unit was written."""
    return [isinstance(outcome, int) for outcome in outcomes]
