"""Computes everything that is derived from the log again, and reports differences."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from craton.application.errors import NotStorable
from craton.application.module import Module
from craton.application.projection import ProjectionDefinition
from craton.application.rows import RowDefinition
from craton.application.upcasting import EventTypes
from craton.domain.aggregate import AnyAggregate
from craton.ports import Snapshot, Statement, Store, StoredEvent
from craton.runtime.commands.state_type import state_type

ROWS_TOGETHER: Final = 10_000
STREAMS_TOGETHER: Final = 256
MAX_SUSPECTED_ROWS: Final = 100

Events = Callable[[int], AsyncIterator[StoredEvent]]
"""The events after a position, as stored."""

RowKey = tuple[Any, ...]


async def differing_rows(
    kind: ProjectionDefinition,
    types: EventTypes,
    store: Store,
    generation: int,
    events: Events,
    subscription: str | None,
    left_out: set[int],
) -> AsyncIterator[str]:
    """Fold the events, except those to be left out, and compare every row, column by column.

    Rows may change meanwhile, so a row that differs is only suspected. It is read again together with the position that
    its projection had reached at that moment (`subscription`; None: the end of the log), and compared with the events
    up to there.
    """
    fold = _Fold(kind, types, events, left_out)
    await fold.go_on(await store.checkpoint(subscription) if subscription else await store.head())
    for row_type in kind.rows.values():
        suspected = [key async for key in _suspected(store, row_type, generation, fold.rows[row_type])]
        for start in range(0, len(suspected), MAX_SUSPECTED_ROWS):
            keys = suspected[start : start + MAX_SUSPECTED_ROWS]
            found = await _read_again(store, row_type, generation, keys, subscription, fold)
            for key in keys:
                row = fold.rows[row_type].get(key)
                name = f"{row_type.name} {', '.join(map(str, key))}"
                if key in found and (row is None or not _same(row_type, row, found[key])):
                    yield f"{name}: the read model differs from the events"
                elif row is not None and key not in found and not kind.kind.may_be_missing(row):
                    yield f"{name}: it is missing from the read model"


class _Fold:
    """The expected rows of a projection, after the events read so far."""

    def __init__(self, kind: ProjectionDefinition, types: EventTypes, events: Events, left_out: set[int]) -> None:
        self.position = 0
        self.rows: dict[RowDefinition[Any], dict[RowKey, Any]] = {row_type: {} for row_type in kind.rows.values()}
        self._definition = kind
        self._projection = kind.new()
        self._states: dict[str, AnyAggregate] = {}
        self._types = types
        self._events = events
        self._left_out = left_out

    async def go_on(self, position: int) -> int:
        """Fold the events up to a position; return their number."""
        count = 0
        async for event in self._events(self.position):
            if event.position > position:
                break
            count += 1
            aggregate = self._state_after(event)
            if self._definition.concerns(event.type, event.stream) and event.position not in self._left_out:
                self._fold(event, aggregate)
        self.position = max(self.position, position)
        return count

    def _state_after(self, event: StoredEvent) -> AnyAggregate | None:
        """The state of the event's aggregate, for projections that take it."""
        kind = self._definition.aggregate
        if kind is None or not event.stream.startswith(f"{kind.stream_prefix}-"):
            return None
        aggregate = self._states.get(event.stream)
        if aggregate is None:
            aggregate = self._states[event.stream] = state_type(kind).new(event.stream.partition("-")[2])
        state_type(kind).apply(aggregate, event, self._types)
        return aggregate

    def _fold(self, event: StoredEvent, aggregate: AnyAggregate | None) -> None:
        for change in self._definition.changes(self._projection, self._types.recorded(event), aggregate):
            rows = self.rows[change.rows]
            row = change.fold(rows.get(change.key))
            if row is None:
                rows.pop(change.key, None)
            else:
                rows[change.key] = row


async def _suspected(
    store: Store, row_type: RowDefinition[Any], generation: int, expected: dict[RowKey, Any]
) -> AsyncIterator[RowKey]:
    """The keys of rows that are missing or differ from what is expected."""
    seen = set()
    async for found in _rows(store, row_type, generation):
        key = _key(row_type, found)
        seen.add(key)
        if key not in expected or not _same(row_type, expected[key], found):
            yield key
    for key in expected.keys() - seen:
        yield key


async def _read_again(
    store: Store,
    row_type: RowDefinition[Any],
    generation: int,
    keys: Sequence[RowKey],
    subscription: str | None,
    fold: _Fold,
) -> dict[RowKey, dict[str, Any]]:
    """Read rows at one moment, together with the fold up to the same moment."""
    parameters = {
        f"{column.name}_{n}": part for n, key in enumerate(keys) for column, part in zip(row_type.key, key, strict=True)
    }
    wanted = " OR ".join(
        "(" + " AND ".join(f'"{column.name}" = :{column.name}_{n}' for column in row_type.key) + ")"
        for n in range(len(keys))
    )
    reached = "SELECT max(position) FROM events"
    if subscription:
        reached = "SELECT max(position) FROM readers WHERE subscription = :subscription_"
        parameters["subscription_"] = subscription
    statement = (
        f"SELECT at.*, found.* FROM (SELECT coalesce(({reached}), 0) AS reached_, (SELECT count(*) FROM events"
        f" WHERE position > :folded_ AND position <= ({reached})) AS count_) AS at"
        f" LEFT JOIN (SELECT * FROM {row_type.table(generation).name} WHERE {wanted}) AS found ON true"
    )
    while True:
        found = await store.fetch(Statement(statement, parameters | {"folded_": fold.position}))
        # A commit with a lower position may not have been there yet: what was folded then is more than what was read.
        if await fold.go_on(found[0]["reached_"]) == found[0]["count_"]:
            return {_key(row_type, row): row for row in found if row["row"] is not None}


async def _rows(store: Store, row_type: RowDefinition[Any], generation: int) -> AsyncIterator[dict[str, Any]]:
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


def _key(row_type: RowDefinition[Any], found: dict[str, Any]) -> RowKey:
    return tuple(
        datetime.fromisoformat(value) if column.type == "time" and isinstance(value, str) else value
        for column in row_type.key
        for value in [found[column.name]]
    )


def _same(row_type: RowDefinition[Any], row: Any, found: dict[str, Any]) -> bool:
    """Whether a stored row has the expected meaning; its text may differ, as that of a set does between processes."""
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
    replayed: dict[str, AnyAggregate] = {}
    snapshots: dict[str, Snapshot] = {}
    async for some in _together(events(0)):
        new = {event.stream: kinds[event.stream.partition("-")[0]] for event in some if _is_new(event, replayed, kinds)}
        states = await store.load([(stream, state_type(kind).fingerprint) for stream, kind in new.items()])
        snapshots |= {s.snapshot.stream: s.snapshot for s in states if s.snapshot is not None}
        replayed |= {stream: state_type(kind).new(stream.partition("-")[2]) for stream, kind in new.items()}
        for event in some:
            aggregate = replayed.get(event.stream)
            if aggregate is None:
                continue
            state_type(type(aggregate)).apply(aggregate, event, module.events)
            snapshot = snapshots.get(event.stream)
            if snapshot is None or snapshot.version != event.version:
                continue
            if not _same_state(aggregate, snapshot):
                yield f"{event.stream}: its snapshot at version {event.version} differs from its events"


def _same_state(aggregate: AnyAggregate, snapshot: Snapshot) -> bool:
    """Whether a snapshot has the meaning of the aggregate's state. One that can't be decoded is never used, so it
    counts."""
    states = state_type(type(aggregate))
    try:
        found = states.decode(snapshot, aggregate.id)
    except Exception:
        return True
    try:
        replayed = msgspec.structs.replace(snapshot, state=states.encode(aggregate))
    except NotStorable:
        return False
    return vars(found) == vars(states.decode(replayed, aggregate.id))


def _is_new(event: StoredEvent, replayed: dict[str, AnyAggregate], kinds: dict[str, type[AnyAggregate]]) -> bool:
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
