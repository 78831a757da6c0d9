"""A new generation for which events are parked waits for an operator, instead of hanging or being made live without."""

import pytest

from craton.application import Index, Key, Projection, Row, Rows, Unavailable
from craton.domain import Recorded
from craton.runtime import App
from craton.runtime.projections.projection import ProjectionProgress
from craton.testing import until
from tests.conftest import Place
from tests.kernel.conftest import StartApp
from tests.kernel.jars import InlineLabels, JarId, JarLabelled, Jars, Labels, caught_up, jars, runner, view
from tests.parking import ask


@pytest.fixture
async def ids(place: Place) -> list[JarId]:
    """Four jars, the third with the label of the first; no projection forbids it yet."""
    ids = [JarId.new() for _ in range(4)]
    async with App("test", modules=[jars()]).run(place) as app:
        for id, label in zip(ids, ("savings", "rainy days", "savings", "holidays"), strict=True):
            await app.api(Jars).stick(id, label)
    return ids


async def held_up(app: App, name: str = "labels") -> ProjectionProgress:
    """Wait until a generation is complete but for parked events."""

    async def waits() -> bool:
        return await runner(app, name).parked_for_build() > 0

    await until(waits)
    return await runner(app, name).progress()


async def ask_for(app: App, progress: ProjectionProgress, what: str) -> None:
    store = app.running["jars"].store
    (entry,) = await store.parked(f"{progress.projection}@{progress.building}")
    assert await ask(store, entry.subscription, entry.position, what)  # type: ignore[arg-type]


async def labels(app: App) -> dict[JarId, str]:
    return {row.jar: row.label for row in (await view(app, "labels").page()).items}


@pytest.mark.parametrize("kind", [Labels, InlineLabels])
class TestANewProjection:
    async def test_says_what_it_waits_for(self, kind: type[Projection], start: StartApp, ids: list[JarId]) -> None:
        app = await start(jars(kind), subscriptions=True)

        progress = await held_up(app)

        assert (progress.live, progress.building, progress.parked_building) == (0, 1, 1)
        with pytest.raises(Unavailable, match="waits for an operator: 1 events are parked"):
            await labels(app)

    async def test_becomes_live_without_an_event_that_is_dropped(
        self, kind: type[Projection], start: StartApp, ids: list[JarId]
    ) -> None:
        app = await start(jars(kind), subscriptions=True)

        await ask_for(app, await held_up(app), "drop")
        await caught_up(app, "labels")

        assert await labels(app) == {ids[0]: "savings", ids[1]: "rainy days", ids[3]: "holidays"}
        assert await app.running["jars"].store.parked() == []
        assert [problem async for problem in app.running["jars"].verify()] == []

    async def test_waits_on_when_what_is_retried_fails_again(
        self, kind: type[Projection], start: StartApp, ids: list[JarId]
    ) -> None:
        app = await start(jars(kind), subscriptions=True)
        before = await held_up(app)

        await ask_for(app, before, "retry")
        again = await held_up(app)

        assert (again.live, again.parked_building) == (0, 1)
        (entry,) = await app.running["jars"].store.parked()
        assert entry.attempts == 2

    async def test_waits_in_the_next_process_too(
        self, kind: type[Projection], place: Place, start: StartApp, ids: list[JarId]
    ) -> None:
        async with App("test", modules=[jars(kind)]).run(place) as first:
            await ask_for(first, await held_up(first), "retry")

        app = await start(jars(kind), subscriptions=True)
        await ask_for(app, await held_up(app), "drop")
        await caught_up(app, "labels")

        assert len(await labels(app)) == 3


class TestAnInlineProjection:
    async def test_refuses_its_events_while_it_waits(self, start: StartApp, ids: list[JarId]) -> None:
        app = await start(jars(InlineLabels), subscriptions=True)
        await held_up(app)

        with pytest.raises(Unavailable):
            await app.api(Jars).stick(ids[0], "other")
        await app.api(Jars).put(ids[0], 1)

    async def test_shows_the_live_generation_while_the_next_one_waits(self, place: Place, start: StartApp) -> None:
        class Before(Labels):
            name = "labels"
            inline = True

            def project(self, event: Recorded[JarLabelled]) -> None:
                if event.data.label != "poison":
                    super().project(event)

        class After(Labels):
            name = "labels"
            version = 2
            inline = True

            def project(self, event: Recorded[JarLabelled]) -> None:
                if event.data.label == "poison":
                    raise ValueError("poison")
                super().project(event)

        sound, sick = JarId.new(), JarId.new()
        async with App("test", modules=[jars(Before)]).run(place) as old:
            await old.api(Jars).stick(sound, "savings")
            await old.api(Jars).stick(sick, "poison")

        app = await start(jars(After), subscriptions=True)
        progress = await held_up(app)

        assert (progress.live, progress.building) == (1, 2)
        assert await labels(app) == {sound: "savings"}
        await ask_for(app, progress, "drop")
        await caught_up(app, "labels")
        assert await labels(app) == {sound: "savings"}


class WideRow(Row):
    jar: Key[JarId]
    label: Index[str]


class Wide(Projection):
    wide: Rows[WideRow]

    def project(self, event: Recorded[JarLabelled]) -> None:
        self.wide.put(WideRow(jar=JarId(event.subject), label=event.data.label))


async def test_a_row_that_fits_in_no_index_is_parked_and_the_build_ends(place: Place, start: StartApp) -> None:
    """Indexes are made when the rows are there, and that may fail: then it is built with them from the beginning."""
    small, big = JarId.new(), JarId.new()
    async with App("test", modules=[jars()]).run(place) as app:
        await app.api(Jars).stick(small, "savings")
        await app.api(Jars).stick(big, "".join(chr(0x4E00 + n % 20_000) for n in range(20_000)))

    app = await start(jars(Wide), subscriptions=True)
    if place.name == "postgres":
        progress = await held_up(app, "wide")
        assert progress.building == 2
        await ask_for(app, progress, "drop")
    await caught_up(app, "wide")

    assert await view(app, "wide").get(small) is not None
