"""A harbour, whose boats are rows that queries answer with."""

from datetime import datetime
from typing import ClassVar

from craton.application import (
    Api,
    Column,
    Hidden,
    Index,
    Key,
    Module,
    Page,
    Paging,
    Projection,
    Repository,
    Row,
    Unique,
    View,
    command,
    query,
)
from craton.domain import Aggregate, AggregateNotFound, Event, Id, Recorded


class BoatId(Id):
    pass


class Launched(Event):
    name: str


class Renamed(Event):
    name: str


class Sunk(Event):
    pass


class BoatNotFound(AggregateNotFound):
    """There is no such boat."""


class Boat(Aggregate[BoatId]):
    snapshot_every = 3
    name: str
    sunk: bool = False

    def rename(self, name: str) -> None:
        self.record(Renamed(name=name))

    def sink(self) -> None:
        self.record(Sunk())

    def apply(self, event: Launched | Renamed | Sunk) -> None:
        match event:
            case Launched(name=name) | Renamed(name=name):
                self.name = name
            case Sunk():
                self.sunk = True


class Afloat(Row):
    not_found = BoatNotFound

    id: Key[BoatId]
    name: Column[str]
    version: int
    launched_at: Hidden[Index[datetime]]
    sign: Hidden[Unique[str]]


class Boats(Projection):
    """The boats that haven't sunk."""

    unlucky: ClassVar[str] = "Titanic"

    def row(self, boat: Boat, event: Recorded[Event]) -> Afloat | None:
        if boat.name == self.unlucky:
            raise ValueError("no such name")
        if boat.sunk:
            return None
        sign = boat.name.casefold()
        return Afloat(id=boat.id, name=boat.name, version=boat.version, launched_at=boat.began_at, sign=sign)


class BoatsAtOnce(Boats):
    name = "boats"
    inline = True
    cached = True


class Harbour(Api):
    @command
    async def launch(self, name: str) -> BoatId:
        """Launch a boat."""

    @command
    async def rename(self, boat: BoatId, names: tuple[str, ...]) -> None:
        """Give a boat one name after the other."""

    @command
    async def sink(self, boat: BoatId) -> None:
        """Lose a boat."""

    @query
    async def boat(self, boat: BoatId) -> Afloat:
        """A boat."""

    @query
    async def named(self, name: str) -> Afloat | None:
        """The boat with this name, in whatever case."""

    @query
    async def boats(self, *, paging: Paging = Paging()) -> Page[Afloat]:
        """The boats, newest first."""

    @query
    async def launched(self) -> tuple[datetime, ...]:
        """When they were launched, oldest first."""


class HarbourService(Harbour):
    def __init__(self, boats: Repository[Boat], afloat: View[Afloat]) -> None:
        self._boats = boats
        self._afloat = afloat

    async def launch(self, name: str) -> BoatId:
        boat = Boat.begin(BoatId.new(), Launched(name=name))
        self._boats.add(boat)
        return boat.id

    async def rename(self, boat: BoatId, names: tuple[str, ...]) -> None:
        found = await self._boats.get(boat)
        for name in names:
            found.rename(name)

    async def sink(self, boat: BoatId) -> None:
        (await self._boats.get(boat)).sink()

    async def boat(self, boat: BoatId) -> Afloat:
        return await self._afloat.get(boat)

    async def named(self, name: str) -> Afloat | None:
        return await self._afloat.find(sign=name.casefold())

    async def boats(self, *, paging: Paging = Paging()) -> Page[Afloat]:
        return await self._afloat.page(order="-launched_at", paging=paging)

    async def launched(self) -> tuple[datetime, ...]:
        return tuple([row.launched_at async for row in self._afloat.each(order="launched_at")])


def harbour(kind: type[Projection] = Boats) -> Module:
    return Module("harbour", api=Harbour, service=HarbourService, projections=[kind])
