"""Two versions of a program run on one store while it is upgraded: the older one parks nothing that the newer one has
written, and leaves it to the newer one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest
from msgspec.structs import replace

from craton.application import (
    Api,
    Context,
    Key,
    Module,
    Policy,
    Projection,
    Repository,
    Row,
    Rows,
    Unavailable,
    Upcaster,
    View,
    command,
    query,
)
from craton.application.api import operation_of
from craton.domain import Aggregate, Event, Id, Recorded
from craton.runtime import App
from craton.testing.until import until
from tests.conftest import Place


class JarId(Id):
    pattern = r"[a-z]+"
    example = "jam"


def shelf(version: int) -> Module:
    """The shelf as the older (1) or the newer program (2) has it: the newer one weighs in grams."""
    if version == 1:

        class Filled(Event):
            kilos: int

            @property
            def weight(self) -> int:
                return self.kilos * 1_000
    else:

        class Filled(Event):  # type: ignore[no-redef]
            schema_version = 2
            grams: int

            @property
            def weight(self) -> int:
                return self.grams

    class Jar(Aggregate[JarId]):
        weight: int = 0

        @classmethod
        def make(cls, id: JarId, kilos: int) -> Self:
            return cls.begin(id, _filled(kilos))

        def fill(self, kilos: int) -> None:
            self.record(_filled(kilos))

        def apply(self, event: Filled) -> None:
            self.weight += event.weight

    def _filled(kilos: int) -> Any:
        fields = {"kilos": kilos} if version == 1 else {"grams": kilos * 1_000}
        return Filled(**fields)

    class JarRow(Row):
        jar: Key[str]
        weight: int

    class Shelf(Api):
        @command
        async def fill(self, jar: JarId, kilos: int) -> None:
            """Fill a jar."""

        @command
        async def note(self, jar: JarId) -> None:
            """Note that a jar was filled."""

        @query
        async def shown(self, jar: JarId) -> int:
            """The weight of a jar, by the read model."""

    class ShelfService(Shelf):
        def __init__(self, jars: Repository[Jar], shown: View[JarRow]) -> None:
            self._jars = jars
            self._shown = shown

        async def fill(self, jar: JarId, kilos: int) -> None:
            found = await self._jars.find(jar)
            if found is None:
                self._jars.add(Jar.make(jar, kilos))
            else:
                found.fill(kilos)

        async def note(self, jar: JarId) -> None:
            told.append((version, str(jar)))

        async def shown(self, jar: JarId) -> int:
            row = await self._shown.find(jar)
            return 0 if row is None else row.weight

    class Notice(Policy):
        async def react(self, event: Recorded[Filled], shelf: Shelf) -> None:
            await shelf.note(JarId(event.subject))

    class Weights(Projection):
        weights: Rows[JarRow]

        def project(self, event: Recorded[Filled]) -> None:
            weight = event.data.weight
            self.weights.put_new(JarRow(jar=event.subject, weight=0))
            self.weights.fold(event.subject, by=lambda row: replace(row, weight=row.weight + weight))

    told = TOLD
    return Module(
        "shelf",
        api=Shelf,
        service=ShelfService,
        policies=[Notice],
        projections=[Weights],
        upcasters=[Upcaster("Filled", 1, lambda old: {"grams": old["kilos"] * 1_000})] if version == 2 else [],
    )


TOLD: list[tuple[int, str]] = []
"""Which version of the program has reacted, and to what."""


@asynccontextmanager
async def program(version: int, place: Place) -> AsyncIterator[App]:
    async with App("shelf", modules=[shelf(version)], environment={}).run(place) as app:
        yield app


async def call(app: App, name: str, *arguments: Any) -> Any:
    operation = operation_of(getattr(app.modules["shelf"].api, name))
    return (await app.call(operation, operation.bind(arguments, {}), Context())).result


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    TOLD.clear()


async def test_what_the_newer_one_records_is_handled_by_the_newer_one_and_nothing_is_parked(place: Place) -> None:
    async with program(1, place) as older:
        await call(older, "fill", JarId("jam"), 1)

        async def is_handled() -> bool:
            return TOLD == [(1, "jam")]

        await until(is_handled)
        async with program(2, place) as newer:
            await call(newer, "fill", JarId("jam"), 2)
            await call(newer, "fill", JarId("honey"), 3)

            async def are_handled() -> bool:
                by_newer = {jar for version, jar in TOLD if version == 2}
                return by_newer == {"jam", "honey"} and await call(newer, "shown", JarId("jam")) == 3_000

            await until(are_handled)
            assert await newer.running["shelf"].store.parked() == []
    assert sorted(TOLD) == [(1, "jam"), (2, "honey"), (2, "jam")]


async def test_a_command_of_the_older_one_that_meets_it_has_begun_nothing(place: Place) -> None:
    async with program(1, place) as older, program(2, place) as newer:
        await call(newer, "fill", JarId("jam"), 2)

        with pytest.raises(Unavailable) as failed:
            await call(older, "fill", JarId("jam"), 1)

        assert not failed.value.maybe_executed
        assert await newer.running["shelf"].store.head() == 1


async def test_an_older_one_that_is_alone_waits_and_the_newer_one_goes_on_when_it_is_there(place: Place) -> None:
    async with program(1, place) as older:
        async with program(2, place) as newer:

            async def has_begun() -> bool:
                return bool(await newer.running["shelf"].store.leases())

            await until(has_begun)
        async with App("shelf", modules=[shelf(2)], environment={}).run(place, subscriptions=False) as silent:
            await call(silent, "fill", JarId("jam"), 2)
        store = older.running["shelf"].store

        async def was_given_away() -> bool:
            held = [lease.name for lease in await store.leases() if lease.held]
            return "shelf.notice@shelf" not in held

        await until(was_given_away)
        assert await store.parked() == []
        assert TOLD == []
        async with program(2, place):

            async def is_handled() -> bool:
                return TOLD == [(2, "jam")]

            await until(is_handled)
