"""Turns a unit of work into the changeset that the store writes."""

from collections.abc import Sequence
from datetime import datetime

from craton.application.api import OperationDefinition
from craton.application.codec import encode_to_keep
from craton.application.errors import MisuseError
from craton.application.unit_of_work import Tracked, UnitOfWork
from craton.application.upcasting import EventTypes
from craton.domain import Metadata, uuid7
from craton.domain.aggregate import AnyAggregate
from craton.ports import Append, Changeset, NewEvent, Snapshot, StoredResult, VersionConflict
from craton.runtime.commands.aggregates import Aggregates
from craton.runtime.projections.inline import InlineProjections


class LocalConflict(VersionConflict):
    """Another command of this process has handed in a newer state, which memory holds."""


class Collector:
    """Collects the changes of a unit of work in one module."""

    def __init__(self, aggregates: Aggregates, inline: InlineProjections) -> None:
        self._aggregates = aggregates
        self._inline = inline

    def collect(self, unit: UnitOfWork, result: StoredResult | None, timer: str | None) -> Changeset:
        """Return the changeset. Raises `LocalConflict`, or `NotInStep` if an inline projection can't be kept now."""
        metadata = _metadata(unit)
        recorded_at = _recorded_at(unit)
        appends: list[Append] = []
        guards: list[tuple[str, int]] = []
        snapshots: list[Snapshot] = []
        for stream, tracked in unit.tracked.items():
            self._require_newest(stream, tracked)
            aggregate = tracked.aggregate
            if aggregate._recorded:
                appends.append(_append(stream, tracked, metadata, recorded_at))
                snapshots += self._snapshot(tracked)
            elif tracked.guarded:
                guards.append((stream, tracked.loaded))
        changeset = Changeset(
            appends=appends,
            guards=guards,
            snapshots=snapshots,
            result=result,
            timers=unit.timers,
            timers_done=[timer] if timer else (),
            statements=unit.statements,
        )
        self._inline.add(changeset, {stream: tracked.aggregate for stream, tracked in unit.tracked.items()})
        return changeset

    def _require_newest(self, stream: str, tracked: Tracked) -> None:
        known = self._aggregates.current(stream)
        is_relied_on = tracked.aggregate._recorded or tracked.guarded
        has_moved_on = known is not None and known != tracked.loaded and is_relied_on
        if has_moved_on or (tracked.base is not None and tracked.base.failed):
            raise LocalConflict(stream)

    def _snapshot(self, tracked: Tracked) -> list[Snapshot]:
        """The aggregate's snapshot, if enough events were recorded since the last one."""
        aggregate, every = tracked.aggregate, tracked.aggregate.snapshot_every
        if aggregate.version // every <= tracked.loaded // every:
            return []
        snapshot = self._aggregates.snapshot(aggregate)
        return [] if snapshot is None else [snapshot]


def _append(stream: str, tracked: Tracked, metadata: str, recorded_at: datetime) -> Append:
    if tracked.loaded == 0:
        tracked.aggregate.began_at = recorded_at
    events = [
        NewEvent(
            stream,
            version,
            uuid7(),
            type(event).__name__,
            event.schema_version,
            EventTypes.encode(event),
            metadata,
            recorded_at,
        )
        for version, event in enumerate(tracked.aggregate._recorded, tracked.loaded + 1)
    ]
    return Append(stream, tracked.loaded, events)


def _metadata(unit: UnitOfWork) -> str:
    context = unit.context
    given = Metadata(
        actor=context.actor,
        tenant=context.tenant,
        correlation=context.correlation or context.id,
        causation=context.id,
        key=None if context.key is None else context.key.text,
    )
    return encode_to_keep(given, Metadata, "the metadata of the call").decode()


def _recorded_at(unit: UnitOfWork) -> datetime:
    """The time of the unit's events: never before the events they follow, even if clocks differ or were set back."""
    return max([unit.now(), *(tracked.time for tracked in unit.changed if tracked.time is not None)])


def require_added(unit: UnitOfWork, noted: Sequence[AnyAggregate], operation: OperationDefinition) -> None:
    """Raise `MisuseError` for an aggregate that has recorded something but isn't in a repository."""
    for aggregate in noted:
        tracked = unit.tracked.get(aggregate.stream)
        if tracked is None or tracked.aggregate is not aggregate:
            kind, fact = type(aggregate).__name__, type(aggregate.recorded[0]).__name__
            raise MisuseError(
                f"{operation}: a {kind} has recorded {fact}, which would be lost: it was given to no repository; "
                f"add it to one of {kind}s"
            )
