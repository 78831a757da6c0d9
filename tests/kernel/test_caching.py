"""Rows kept in memory: never read twice, never old."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from craton.application import (
    Api,
    Context,
    Key,
    Module,
    Projection,
    Repository,
    Row,
    Rows,
    View,
    WiringError,
    command,
    query,
)
from craton.application.api import operation_of
from craton.domain import Aggregate, Event, Id, Recorded
from craton.ports import Table
from craton.runtime import App
from tests.conftest import Place


class PersonId(Id):
    pass


class Named(Event):
    name: str


class Person(Aggregate):
    id: PersonId
    name: str = ""

    def apply(self, event: Named) -> None:
        self.name = event.name


class NameRow(Row):
    person: Key[PersonId]
    name: str


class Names(Projection):
    inline = True
    cached = True
    names: Rows[NameRow]

    def project(self, event: Recorded[Named]) -> None:
        self.names.put(NameRow(person=PersonId(event.subject), name=event.data.name))


class People(Api):
    @command
    async def call(self, person: PersonId, name: str) -> None:
        """Give somebody a name."""

    @query
    async def name(self, person: PersonId) -> str:
        """What somebody is called."""

    @query
    async def names(self, people: tuple[PersonId, ...]) -> tuple[str, ...]:
        """What some are called, as far as they have names."""


class PeopleService(People):
    def __init__(self, people: Repository[Person], rows: View[NameRow]) -> None:
        self._people = people
        self._rows = rows

    async def call(self, person: PersonId, name: str) -> None:
        found = await self._people.find(person)
        if found is None:
            found = Person(person)
            self._people.add(found)
        found.record(Named(name=name))

    async def name(self, person: PersonId) -> str:
        row = await self._rows.get(person)
        return "" if row is None else row.name

    async def names(self, people: tuple[PersonId, ...]) -> tuple[str, ...]:
        found = await self._rows.get_all(people)
        return tuple(row.name for row in found.values())


class Town:
    """A running app, and how often rows were read from its store."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app = app
        self.people = app.api(People)
        self.reads = 0
        self.held: asyncio.Event | None = None
        self.reading = asyncio.Event()
        store = app.running["people"].store
        read = store.get_rows

        async def counted(table: Table, keys: Sequence[tuple[Any, ...]]) -> Sequence[str | None]:
            self.reads += 1
            rows = await read(table, keys)
            if self.held is not None:
                self.reading.set()
                await self.held.wait()
            return rows

        monkeypatch.setattr(store, "get_rows", counted)

    async def kept(self, person: PersonId) -> None:
        """Wait until somebody's row is in memory."""
        while True:
            before = self.reads
            await self.people.name(person)
            if self.reads == before:
                return
            await asyncio.sleep(0.005)


@asynccontextmanager
async def town(place: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    app = App("town", modules=[Module("people", api=People, service=PeopleService, projections=[Names])])
    async with app.run(place):
        yield Town(app, monkeypatch)


class TestARow:
    async def test_is_read_once(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here:
            await here.people.call(person, "Ada")
            await here.kept(person)
            reads = here.reads

            names = [await here.people.name(person) for _ in range(100)]

            assert names == ["Ada"] * 100
            assert here.reads == reads

    async def test_that_is_not_there_is_not_looked_for_again(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here:
            await here.kept(person)
            reads = here.reads

            assert await here.people.name(person) == ""
            assert here.reads == reads

            await here.people.call(person, "Ada")
            assert await here.people.name(person) == "Ada"

    async def test_is_read_alone_when_the_others_are_kept(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        ada, bob = PersonId.new(), PersonId.new()
        async with town(place, monkeypatch) as here:
            await here.people.call(ada, "Ada")
            await here.people.call(bob, "Bob")
            await here.kept(ada)

            assert await here.people.names((bob, ada, PersonId.new())) == ("Bob", "Ada")


class TestAChange:
    async def test_is_seen_at_once_by_who_made_it(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here:
            for number in range(100):
                await here.people.call(person, str(number))

                assert await here.people.name(person) == str(number)
                if number % 10 == 0:
                    await here.kept(person)

    async def test_is_seen_in_every_process(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here, town(place, monkeypatch) as there:
            await here.people.call(person, "Ada")
            for name in ("Ada Byron", "Ada Lovelace"):
                await there.kept(person)

                await here.people.call(person, name)

                while await there.people.name(person) != name:
                    await asyncio.sleep(0.01)

    async def test_that_somebody_was_told_the_position_of_is_waited_for(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here, town(place, monkeypatch) as there:
            await here.people.call(person, "Ada")
            await there.kept(person)
            for number in range(20):
                call = operation_of(People.call)
                answer = await here.app.call(call, {"person": person, "name": str(number)}, Context())

                told = Context(positions={"people": answer.position})
                seen = await there.app.call(operation_of(People.name), {"person": person}, told)

                assert seen.result == str(number)

    async def test_while_a_row_is_read_leaves_nothing_old_behind(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here:
            await here.people.call(person, "old")
            await asyncio.sleep(0.2)  # the cache has followed
            here.held = asyncio.Event()
            filling = asyncio.create_task(here.people.name(person))
            await here.reading.wait()

            await here.people.call(person, "new")
            await asyncio.sleep(0.2)  # it has followed again: the change has gone by
            here.held.set()

            assert await filling == "old"
            here.held = None
            assert await here.people.name(person) == "new"


async def test_a_rebuild_changes_nothing_for_who_reads(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    person = PersonId.new()
    async with town(place, monkeypatch) as here:
        await here.people.call(person, "Ada")
        await here.kept(person)
        (names,) = here.app.projections.values()

        await names.rebuild()
        while (await names.progress()).building:
            assert await here.people.name(person) == "Ada"
            await asyncio.sleep(0.005)

        await here.people.call(person, "Ada Byron")
        assert await here.people.name(person) == "Ada Byron"


def test_only_what_changes_with_its_events_may_be_cached() -> None:
    class Late(Projection):
        cached = True
        names: Rows[NameRow]

        def project(self, event: Recorded[Named]) -> None:
            """Never called."""

    with pytest.raises(WiringError, match="Late can't be cached"):
        Module("people", api=People, service=PeopleService, projections=[Late])
