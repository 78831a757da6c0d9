"""Checks a batch of units before it is written, and assigns positions to the units afterwards."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from craton.adapters.postgres.refusals import Outdated, Taken, refusal
from craton.ports import Changeset, RowOperation, VersionConflict, WriteOutcome
from craton.ports.wellformed import require_well_formed


def runs(units: Iterable[Changeset]) -> Iterator[list[Changeset]]:
    """Cut a batch before each unit that must see more of the earlier units than their events and rows."""
    run: list[Changeset] = []
    for unit in units:
        asks = unit.documents or unit.checkpoint_at_most or unit.head_at_most is not None
        if run and asks:
            yield run
            run = []
        run.append(unit)
        if unit.documents or unit.statements:
            yield run
            run = []
    if run:
        yield run


def requirements(unit: Changeset) -> Iterable[tuple[str, int, int]]:
    """For each stream of a unit: the version it must be at, and the number of events to append. Guards come first."""
    for stream, version in unit.guards:
        yield stream, version, 0
    for append in unit.appends:
        yield append.stream, append.expected, len(append.events)


def heads(units: Iterable[Changeset]) -> dict[str, int]:
    """The version that each stream must be at before the batch."""
    found: dict[str, int] = {}
    for unit in units:
        for stream, version, _ in requirements(unit):
            found.setdefault(stream, version)
    return found


def without_stale(
    waiting: list[tuple[int, Changeset]], outcomes: dict[int, WriteOutcome]
) -> list[tuple[int, Changeset]]:
    """Refuse units that aren't well-formed, or that don't fit what earlier units of the batch will have written."""
    versions: dict[str, int] = {}
    refused: set[str] = set()
    fitting = []
    for place, unit in waiting:
        try:
            require_well_formed(unit)
        except Exception as problem:
            outcomes[place] = refusal(problem)
            refused |= unit.streams
            continue
        stale = [stream for stream, version, _ in requirements(unit) if versions.get(stream, version) != version]
        stale += refused & unit.streams
        if stale:
            outcomes[place] = VersionConflict(min(stale))
            refused |= unit.streams
            continue
        for stream, version, count in requirements(unit):
            versions[stream] = version + count
        fitting.append((place, unit))
    return fitting


def refuse(waiting: list[tuple[int, Changeset]], streams: set[str], outcomes: dict[int, WriteOutcome]) -> None:
    """Refuse units that touch the streams or that build on a refused unit."""
    for place, unit in waiting:
        stale = unit.streams & streams
        if stale:
            outcomes.setdefault(place, VersionConflict(min(stale)))
        if place in outcomes:
            streams = streams | unit.streams


def refuse_outdated(
    waiting: list[tuple[int, Changeset]], outdated: Outdated, outcomes: dict[int, WriteOutcome]
) -> None:
    """Refuse units that were made for another set of live inline projections, and the units that build on those."""
    for place, unit in waiting:
        if unit.inline not in (None, outdated.revision):
            outcomes[place] = outdated
    refuse(waiting, set(), outcomes)


def refuse_taken(waiting: list[tuple[int, Changeset]], taken: Taken, outcomes: dict[int, WriteOutcome]) -> None:
    """Refuse units whose keys were used before, and the units that build on those.

    If several units of the batch have one key, the first of them is tried again: it may be that only they collide.
    """
    keys = Counter((unit.result.scope, unit.result.key) for _, unit in waiting if unit.result)
    tried: set[tuple[str, str]] = set()
    for place, unit in waiting:
        key = (unit.result.scope, unit.result.key) if unit.result else None
        if key is None or key not in taken.keys:
            continue
        if keys[key] == 1 or key in tried:
            outcomes[place] = taken
        tried.add(key)
    refuse(waiting, set(), outcomes)


def positions(units: Sequence[Changeset], drawn: Sequence[int]) -> list[int]:
    """For each unit the position of its last event."""
    last, count = [], 0
    for unit in units:
        own = sum(len(append.events) for append in unit.appends)
        count += own
        last.append(drawn[count - 1] if own else 0)
    return last


def operations(units: Sequence[Changeset], drawn: Iterator[int]) -> Iterator[RowOperation]:
    """The changes of read models by the units, once their events have the positions that were drawn."""
    for unit in units:
        events = [event for append in unit.appends for event in append.events]
        stored = [event.at(next(drawn), last=place == len(events)) for place, event in enumerate(events, 1)]
        yield from unit.rows
        if unit.project:
            yield from unit.project(stored)


def columns(records: Sequence[Any], fields: tuple[str, ...]) -> list[list[Any]]:
    if not records:
        return [[] for _ in fields]
    return [list(column) for column in zip(*map(attrgetter(*fields), records), strict=True)]
