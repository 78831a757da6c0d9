"""Projections of another module's events: their rows lie in the module that has them, and follow the other's log."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from craton.application import (
    Api,
    Column,
    Key,
    Module,
    Projection,
    Repository,
    Row,
    Rows,
    Settings,
    View,
    WiringError,
    command,
    query,
)
from craton.domain import Aggregate, Event, Id, Recorded
from craton.runtime import App
from craton.testing import RunningApp, run


class JarId(Id):
    pass


class Put(Event):
    what: str


class Taken(Event):
    what: str


class Jar(Aggregate[JarId]):
    things: tuple[str, ...] = ()

    def put(self, what: str) -> None:
        self.record(Put(what=what))

    def apply(self, event: Put | Taken) -> None:
        self.things = (*self.things, event.what)


class Jars(Api):
    @command
    async def put(self, jar: JarId, what: str) -> None:
        """Put something in."""


class JarsService(Jars):
    def __init__(self, jars: Repository[Jar]) -> None:
        self._jars = jars

    async def put(self, jar: JarId, what: str) -> None:
        (await self._jars.find_or_add(jar)).put(what)


jars = Module("jars", api=Jars, service=JarsService)


class CountingSettings(Settings):
    step: int = 1


class Count(Row):
    what: Key[str]
    number: Column[int] = 0


def _with(step: int, row: Count) -> Count:
    return replace(row, number=row.number + step)


class Counts(Projection):
    settings: CountingSettings
    counts: Rows[Count]

    def project(self, event: Recorded[Put]) -> None:
        self.counts.put_new(Count(what=event.data.what))
        self.counts.fold(event.data.what, by=partial(_with, self.settings.step))


class Counting(Api):
    @query
    async def number(self, what: str) -> int:
        """How many were put."""


class CountingService(Counting):
    def __init__(self, counts: View[Count]) -> None:
        self._counts = counts

    async def number(self, what: str) -> int:
        found = await self._counts.find(what)
        return found.number if found else 0


def counting(*projections: type[Projection], service: type[Api] = CountingService) -> Module:
    return Module("counting", api=Counting, service=service, projections=projections, settings=CountingSettings)


MODULES = (counting(Counts), jars)  # the reader before the module whose log it reads


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_place")


@pytest.fixture
async def running(place: Any) -> AsyncIterator[RunningApp]:
    async with start(place) as app:
        yield app


def start(place: Any, **options: Any) -> Any:
    where: dict[str, Any] = (
        {"store": place.url} if place.name == "postgres" else {"store": "sqlite", "folder": place.folder}
    )
    name = place.prefix if place.name == "postgres" else "shelf"
    return run(App(name, modules=MODULES), **where, **options)


async def test_a_query_sees_what_the_other_module_has_recorded_before(running: RunningApp) -> None:
    for _ in range(3):
        await running.api(Jars).put(JarId.new(), "salt")

    assert await running.api(Counting).number("salt") == 3
    assert await running.api(Counting).number("pepper") == 0


async def test_it_goes_on_where_it_was(place: Any) -> None:
    async with start(place) as running:
        await running.api(Jars).put(JarId.new(), "salt")
        await running.settled()
    async with start(place, subscriptions=False) as running:
        await running.api(Jars).put(JarId.new(), "salt")
    async with start(place) as running:
        await running.settled()

        assert await running.api(Counting).number("salt") == 2


async def test_it_is_built_again_while_the_old_rows_are_shown(running: RunningApp) -> None:
    await running.api(Jars).put(JarId.new(), "salt")
    await running.settled()
    view = running.app.running["counting"].projections["counts"]

    await view.rebuild()
    await running.settled()

    assert (await view.progress()).live == 2
    assert await running.api(Counting).number("salt") == 1


async def test_changed_settings_build_it_anew(place: Any) -> None:
    async with start(place) as running:
        await running.api(Jars).put(JarId.new(), "salt")
        await running.settled()
    async with start(place, settings={"CRATON_COUNTING_STEP": "10"}) as running:
        await running.settled()

        assert await running.api(Counting).number("salt") == 10


async def test_operators_see_which_log_it_reads(running: RunningApp) -> None:
    await running.api(Jars).put(JarId.new(), "salt")
    await running.settled()

    (reader,) = [one for one in await running.operations.readers() if one.kind == "projection"]

    assert (reader.module, reader.source, reader.lag, reader.position) == ("counting", "jars", 0, reader.head)


async def test_the_map_shows_that_it_listens(running: RunningApp) -> None:
    (arrow,) = running.app.wiring.map.listening

    assert (arrow.source, arrow.target, arrow.parts, arrow.events) == ("counting", "jars", ("Counts",), ("Put",))


async def test_a_log_that_was_restored_from_a_backup_is_counted_anew(sqlite_place: Any) -> None:
    log = sqlite_place.folder / "jars.db"
    async with start(sqlite_place) as running:
        await running.api(Jars).put(JarId.new(), "salt")
        await running.settled()
    backup = log.read_bytes()
    async with start(sqlite_place) as running:
        await running.api(Jars).put(JarId.new(), "salt")
        await running.settled()
        assert await running.api(Counting).number("salt") == 2
    log.write_bytes(backup)

    async with start(sqlite_place, subscriptions=False) as running:
        await running.app.rounds.accept("jars", "an operator")
    async with start(sqlite_place) as running:
        await running.settled()

        assert await running.api(Counting).number("salt") == 1


async def test_verify_compares_it_with_the_other_log(running: RunningApp) -> None:
    await running.api(Jars).put(JarId.new(), "salt")
    await running.settled()

    assert [problem async for problem in running.app.running["counting"].verify()] == []


class TestRefused:
    def test_inline(self) -> None:
        class Inline(Counts):
            inline = True

        with pytest.raises(WiringError, match="leave `inline` away"):
            counting(Inline)

    def test_of_another_modules_aggregate(self) -> None:
        class OfJars(Projection):
            def row(self, jar: Jar, event: Recorded[Event]) -> Count:
                return Count(what=jar.id)

        with pytest.raises(WiringError, match="use `project`"):
            counting(OfJars)

    def test_of_two_modules(self) -> None:
        class Opened(Event):
            pass

        class Box(Aggregate[JarId]):
            def apply(self, event: Opened) -> None: ...

        class Boxes(Api):
            @command
            async def open(self) -> None:
                """Open a box."""

        class BoxesService(Boxes):
            def __init__(self, boxes: Repository[Box]) -> None: ...

            async def open(self) -> None: ...

        class Both(Projection):
            counts: Rows[Count]

            def project(self, event: Recorded[Put | Opened]) -> None: ...

        with pytest.raises(WiringError, match="Both of the module counting projects events of boxes and jars"):
            App("shelf", modules=[counting(Both), jars, Module("boxes", api=Boxes, service=BoxesService)])

    def test_with_settings_that_are_not_the_modules(self) -> None:
        class Others(Settings):
            pass

        class Wrong(Projection):
            settings: Others
            counts: Rows[Count]

            def project(self, event: Recorded[Put]) -> None: ...

        with pytest.raises(WiringError, match="Wrong uses settings that aren't the module's"):
            counting(Wrong)
