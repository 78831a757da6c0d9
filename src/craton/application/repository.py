"""Repositories: collection-like access to the aggregates of one type, inside the current unit of work."""

from datetime import datetime
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from craton.application.errors import MisuseError, UnusableId
from craton.application.page import Page, Paging
from craton.application.unit_of_work import Tracked, UnitOfWork, require_unit
from craton.domain import Metadata
from craton.domain.aggregate import AnyAggregate
from craton.ports.wellformed import storable

A = TypeVar("A", bound=AnyAggregate)

MAX_ID_LENGTH: Final = 255


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded event in the form in which it is shown to people."""

    type: str
    data: dict[str, Any]
    version: int
    position: int
    id: str
    time: datetime
    metadata: Metadata


class AggregateSource(Protocol):
    """Loads aggregates. Made by the runtime."""

    async def load(self, unit: UnitOfWork, kind: type[A], id: Any) -> Tracked | None:
        """Return the newest state, or None when there is none."""

    async def load_past(self, kind: type[A], id: Any, at: datetime | None, version: int | None) -> A | None:
        """Return the state at a time or a version."""

    async def audit(self, stream: str, paging: Paging) -> Page[AuditEvent]:
        """Return the events of a stream, newest first."""


class Repository(Generic[A]):
    """The aggregates of one type. What is loaded or added here is part of the current unit of work."""

    def __init__(self, kind: type[A], source: AggregateSource) -> None:
        self._kind = kind
        self._source = source

    async def get(self, id: Any, *, at: datetime | None = None, version: int | None = None) -> A:
        """Return the aggregate, or its state at a time (`at`) or a `version`. Raises its kind's `not_found`.

        A past state is a copy for reading: events that it records are lost.
        """
        require_usable(id)
        if at is None and version is None:
            aggregate = await self.find(id)
        else:
            aggregate = await self._source.load_past(self._kind, id, at, version)
        if aggregate is None:
            raise self._kind.not_found(id=str(id))
        return aggregate

    async def find(self, id: Any) -> A | None:
        """Return the aggregate, or None when there is none with this id."""
        unit = require_unit(f"{self._kind.__name__} repository")
        stream = f"{self._kind.stream_prefix}-{id}"
        tracked = unit.tracked.get(stream)
        if tracked is None:
            require_usable(id)
            loaded = await self._source.load(unit, self._kind, id)
            tracked = unit.tracked.get(stream, loaded)  # another task of the use case may have been faster
            if tracked is None:
                unit.missing.add(stream)
                return None
            unit.tracked[stream] = tracked
        aggregate = tracked.aggregate
        if not isinstance(aggregate, self._kind):
            raise MisuseError(f"{aggregate.stream} is a {type(aggregate).__name__}, not a {self._kind.__name__}")
        return aggregate

    async def find_or_add(self, id: Any) -> A:
        """Return the aggregate, or a new one without any events: it begins to exist with the first event it records."""
        found = await self.find(id)
        if found is None:
            found = self._kind(id)
            self.add(found)
        return found

    def add(self, aggregate: A) -> None:
        """Add a new aggregate.

        If its id is taken, the commit refuses it (`AlreadyExists`). If the use case looked for the id before and found
        nothing, the use case runs again instead and finds it.
        """
        unit = require_unit(f"{self._kind.__name__} repository")
        if aggregate.stream in unit.tracked:
            raise MisuseError(f"{aggregate.stream} is in this unit of work already")
        require_usable(aggregate.id)
        unit.tracked[aggregate.stream] = Tracked(aggregate, 0, added=aggregate.stream not in unit.missing)

    def require_unchanged(self, aggregate: A) -> None:
        """Have the commit check that the aggregate, which isn't changed here, wasn't changed elsewhere either."""
        unit = require_unit(f"{self._kind.__name__} repository")
        tracked = unit.tracked.get(aggregate.stream)
        if tracked is None or tracked.aggregate is not aggregate:
            raise MisuseError(f"{aggregate.stream} was not loaded in this unit of work")
        tracked.guarded = True

    async def audit(self, id: Any, paging: Paging = Paging()) -> Page[AuditEvent]:
        """Return all events of the aggregate, newest first. Raises its kind's `not_found`."""
        require_usable(id)
        page = await self._source.audit(f"{self._kind.stream_prefix}-{id}", paging)
        if not page.total:
            raise self._kind.not_found(id=str(id))
        return page


def require_usable(id: Any) -> None:
    """Raise `UnusableId` for an id that no store can find an aggregate by."""
    text = str(id)
    if not 0 < len(text) <= MAX_ID_LENGTH or not storable(text):
        raise UnusableId()
