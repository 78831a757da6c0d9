"""The log as operators see it: the events of all modules, newest first, and a stream at a version or a time."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from heapq import merge
from typing import Any, Final

import msgspec

from craton.application.codec import masked
from craton.application.upcasting import EventTypes, UndecodableEvent
from craton.domain.aggregate import AnyAggregate
from craton.ports import EventFilter, StoredEvent
from craton.runtime.commands.state_type import StateType, state_type
from craton.runtime.module import RunningModule
from craton.runtime.operations.api import Change, EventEntry, FoundEvents, StreamView
from craton.runtime.operations.refusals import AmbiguousStream, BadCursor, StreamNotFound, UnreadableStream

MAX_SCANNED: Final = 20_000
"""How many events of each module one call looks at. The log has no index for this, since every append would pay."""
PAGE: Final = 1_000
_POSITION: Final = re.compile(r"[1-9][0-9]{0,17}")

Modules = Mapping[str, RunningModule]


async def find_events(modules: Modules, wanted: EventFilter, after: str, limit: int) -> FoundEvents:
    """Events of some modules, newest first. Raises `BadCursor`."""
    cursor = read_cursor(after) or dict.fromkeys(modules, 0)
    by_module: list[list[EventEntry]] = []
    reached: dict[str, int] = {}
    for name, before in cursor.items():
        if name not in modules:
            raise BadCursor()
        events, reached[name] = await modules[name].store.search(wanted, before, limit, MAX_SCANNED)
        by_module.append([event_entry(modules[name], event) for event in events])
    shown, left = events_page(by_module, limit)
    for event in reversed(left):  # the next page of a module begins with its newest event that isn't shown
        reached[event.module] = event.position + 1
    return FoundEvents(events=tuple(shown), next=written_cursor(reached))


def events_page(by_module: Sequence[Sequence[EventEntry]], limit: int) -> tuple[list[EventEntry], list[EventEntry]]:
    """The newest events of several modules, and those that don't fit.

    They are merged, not sorted: a module's own events stay in the order of their positions, even if a clock was set
    back.
    """
    found = list(merge(*by_module, key=lambda event: (event.time, event.position), reverse=True))
    return found[:limit], found[limit:]


def written_cursor(reached: Mapping[str, int]) -> str:
    """Where a search goes on in each module; those that it has finished are left out."""
    return " ".join(f"{name}:{position}" for name, position in reached.items() if position)


def read_cursor(text: str) -> dict[str, int]:
    """Read a cursor; empty for an empty text. Raises `BadCursor`."""
    cursor: dict[str, int] = {}
    for part in text.split(" ") if text else ():
        name, _, position = part.partition(":")
        if not _POSITION.fullmatch(position) or name in cursor:
            raise BadCursor()
        cursor[name] = int(position)
    return cursor


def event_entry(running: RunningModule, event: StoredEvent) -> EventEntry:
    """An event in the form in which it is shown, with its secrets masked."""
    return EventEntry(
        module=running.module.name,
        position=event.position,
        stream=event.stream,
        version=event.version,
        id=event.id,
        type=event.type,
        time=event.time,
        data=_data(running.module.events, event),
        metadata={name: value for name, value in msgspec.json.decode(event.metadata).items() if name != "key"},
    )


def _data(types: EventTypes, event: StoredEvent) -> dict[str, Any] | None:
    try:
        shown: dict[str, Any] = masked(types.data(event))
    except UndecodableEvent:
        return None
    return shown


async def stream_at(modules: Modules, stream: str, version: int | None, at: datetime | None) -> StreamView:
    """An aggregate at a version or at a time; without either, in its present state.

    Raises `StreamNotFound`, `AmbiguousStream` or `UnreadableStream`.
    """
    having: list[tuple[RunningModule, type[AnyAggregate], StoredEvent]] = []
    for running in modules.values():
        kinds = {kind.stream_prefix: kind for kind in running.module.aggregates}
        kind = kinds.get(stream.partition("-")[0])
        newest = await running.store.read_stream(stream, limit=1, descending=True) if kind is not None else []
        if kind is not None and newest:
            having.append((running, kind, newest[0]))
    if not having:
        raise StreamNotFound()
    if len(having) > 1:
        raise AmbiguousStream(modules=tuple(running.module.name for running, _, _ in having))
    running, kind, newest_event = having[0]
    states = state_type(kind)
    try:
        aggregate = states.new(stream.partition("-")[2])
        before, event = await _replay(running, states, aggregate, version, at)
    except (UndecodableEvent, ValueError) as problem:
        raise UnreadableStream(reason=str(problem)) from problem
    if event is None or (version is not None and event.version != version):
        raise StreamNotFound()
    was, state = states.shown(before), states.shown(aggregate)
    return StreamView(
        module=running.module.name,
        stream=stream,
        kind=kind.__name__,
        version=event.version,
        newest=newest_event.version,
        event=event_entry(running, event),
        state=state,
        changed={
            name: Change(before=was.get(name), after=state.get(name)) for name in states.changed(before, aggregate)
        },
    )


async def _replay(
    running: RunningModule, states: StateType, aggregate: AnyAggregate, version: int | None, at: datetime | None
) -> tuple[AnyAggregate, StoredEvent | None]:
    """Apply the events up to a version or time; return what it was before the last of them, and that event."""
    before = states.copy(aggregate)
    last: StoredEvent | None = None
    stream = aggregate.stream
    while True:
        events = await running.store.read_stream(stream, after=aggregate.version, limit=PAGE)
        for event in events:
            if (at is not None and event.time > at) or aggregate.version == version:
                return before, last
            before = states.copy(aggregate)
            states.apply(aggregate, event, running.module.events)
            last = event
        if len(events) < PAGE:
            return before, last
