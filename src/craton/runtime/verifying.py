"""Computes everything that is derived from the log again, and says what differs."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any, Final

import msgspec

from craton.application.module import Module
from craton.application.projection import Projection
from craton.application.upcasting import EventTypes
from craton.application.view import RowType
from craton.domain import Aggregate
from craton.ports import Snapshot, Statement, Store, StoredEvent
from craton.runtime.aggregates import state_type

ROWS_TOGETHER: Final = 10_000
STREAMS_TOGETHER: Final = 256

Events = Callable[[], AsyncIterator[StoredEvent]]


async def differing_rows(
    kind: type[Projection],
    types: EventTypes,
    store: Store,
    generation: int,
    events: Events,
    reached: int,
    left_out: set[int],
) -> AsyncIterator[str]:
    """Fold the events up to the position reached, but those to be left out, and compare every row, column by column."""
    expected = await _fold(kind, types, events, reached, left_out)
    for row_type in kind.rows.values():
        rows = expected[row_type]
        async for found in _rows(store, row_type, generation):
            key = tuple(found[column.name] for column in row_type.key)
            row = rows.pop(key, None)
            if row is None or not _same(row_type, row, found):
                yield f"{row_type.name} {', '.join(map(str, key))}: the read model says something else than the events"
        for key in rows:
            yield f"{row_type.name} {', '.join(map(str, key))}: it is missing from the read model"


async def _fold(
    kind: type[Projection], types: EventTypes, events: Events, reached: int, left_out: set[int]
) -> dict[RowType[Any], dict[tuple[Any, ...], Any]]:
    projection, names = kind(), set(kind.event_names)
    rows: dict[RowType[Any], dict[tuple[Any, ...], Any]] = {row_type: {} for row_type in kind.rows.values()}
    async for event in events():
        if event.position > reached:
            break
        if event.type not in names or event.position in left_out:
            continue
        projection.said.clear()
        projection.project(types.recorded(event))
        for change in projection.said:
            row = change.fold(rows[change.rows].get(change.key))
            if row is None:
                rows[change.rows].pop(change.key, None)
            else:
                rows[change.rows][change.key] = row
    return rows


async def _rows(store: Store, row_type: RowType[Any], generation: int) -> AsyncIterator[dict[str, Any]]:
    table = row_type.table(generation)
    order = ", ".join(f'"{column.name}"' for column in table.key)
    offset = 0
    while True:
        page = await store.fetch(
            Statement(
                f"SELECT * FROM {table.name} ORDER BY {order} LIMIT :limit OFFSET :offset",
                {"limit": ROWS_TOGETHER, "offset": offset},
            )
        )
        for found in page:
            yield found
        if len(page) < ROWS_TOGETHER:
            return
        offset += len(page)


def _same(row_type: RowType[Any], row: Any, found: dict[str, Any]) -> bool:
    """Whether a stored row means what it should; its text may differ, as that of a set does between processes."""
    stored = row_type.stored(row)
    columns = zip(row_type.indexes, stored.indexed, strict=True)
    try:
        same = bool(row_type.decode(found["row"]) == row_type.decode(stored.row))
    except ValueError:
        return False
    return same and all(_equal(value, found[column.name]) for column, value in columns)


def _equal(expected: Any, found: Any) -> bool:
    if isinstance(expected, datetime) and isinstance(found, str):
        return expected == datetime.fromisoformat(found)
    return bool(expected == found)


async def differing_snapshots(module: Module, store: Store, events: Events) -> AsyncIterator[str]:
    """Replay every stream, and compare its newest usable snapshot with the state at that version."""
    kinds = {kind.stream_prefix: kind for kind in module.aggregates}
    replayed: dict[str, Aggregate] = {}
    snapshots: dict[str, Snapshot] = {}
    async for some in _together(events()):
        new = {event.stream: kinds[event.stream.partition("-")[0]] for event in some if _is_new(event, replayed, kinds)}
        states = await store.load([(stream, state_type(kind).fingerprint) for stream, kind in new.items()])
        snapshots |= {s.snapshot.stream: s.snapshot for s in states if s.snapshot is not None}
        replayed |= {stream: kind(stream.partition("-")[2]) for stream, kind in new.items()}
        for event in some:
            aggregate = replayed.get(event.stream)
            if aggregate is None:
                continue
            if event.type not in module.events.retired:
                aggregate.apply(module.events.data(event))
            aggregate.version = event.version
            snapshot = snapshots.get(event.stream)
            if snapshot is None or snapshot.version != event.version:
                continue
            if not _same_state(aggregate, snapshot):
                yield f"{event.stream}: its snapshot at version {event.version} says something else than its events"


def _same_state(aggregate: Aggregate, snapshot: Snapshot) -> bool:
    """Whether a snapshot means the state of the aggregate. One that can't be decoded is used by nobody."""
    states = state_type(type(aggregate))
    replayed = msgspec.structs.replace(snapshot, state=states.encode(aggregate))
    try:
        found = states.decode(snapshot, aggregate.id)
    except ValueError:
        return True
    return vars(found) == vars(states.decode(replayed, aggregate.id))


def _is_new(event: StoredEvent, replayed: dict[str, Aggregate], kinds: dict[str, type[Aggregate]]) -> bool:
    return event.stream not in replayed and event.stream.partition("-")[0] in kinds


async def _together(events: AsyncIterator[StoredEvent]) -> AsyncIterator[list[StoredEvent]]:
    some: list[StoredEvent] = []
    async for event in events:
        some.append(event)
        if len(some) == STREAMS_TOGETHER:
            yield some
            some = []
    if some:
        yield some
