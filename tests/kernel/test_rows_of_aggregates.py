"""A read model of one aggregate is a function of its state; its row is an answer, but for its hidden fields."""

from typing import Any

import msgspec
import pytest

from craton.application import Key, Projection, Row, Rows, ValueTaken, WiringError
from craton.application.codec import encode, plain
from craton.application.context import Context
from craton.application.projection import ProjectionDefinition
from craton.domain import Event, Recorded
from craton.ports import StatementFailed
from craton.runtime import App
from craton.runtime.projections import states
from craton.testing import settled, until
from tests.kernel.conftest import Clock, StartApp
from tests.kernel.harbour import Afloat, Boat, BoatId, BoatNotFound, Boats, BoatsAtOnce, Harbour, harbour
from tests.parking import ask

KINDS = pytest.mark.parametrize("kind", [Boats, BoatsAtOnce], ids=["async", "inline"])


async def problems(app: App) -> list[str]:
    return [problem async for problem in app.running["harbour"].verify()]


@KINDS
class TestARow:
    async def test_is_made_of_the_state_after_each_event(self, start: StartApp, kind: type[Projection]) -> None:
        app = await start(harbour(kind), subscriptions=True)
        api = app.api(Harbour)
        boat = await api.launch("Ada")
        await api.rename(boat, ("Bea", "Cleo"))
        await settled(app)

        shown = await api.boat(boat)

        assert (shown.id, shown.name, shown.version) == (boat, "Cleo", 3)
        assert await problems(app) == []

    async def test_tells_when_its_aggregate_began(self, start: StartApp, kind: type[Projection], clock: Clock) -> None:
        app = await start(harbour(kind), subscriptions=True, clock=clock)
        api, launched = app.api(Harbour), clock.time
        boat = await api.launch("Ada")
        clock.forward(days=1)
        await api.rename(boat, ("Bea", "Cleo", "Dora", "Eve"))
        await settled(app)

        assert await api.launched() == (launched,)

    async def test_is_gone_when_there_is_none_for_the_state(self, start: StartApp, kind: type[Projection]) -> None:
        app = await start(harbour(kind), subscriptions=True)
        api = app.api(Harbour)
        boat = await api.launch("Ada")
        await settled(app)
        await api.sink(boat)
        await settled(app)

        with pytest.raises(BoatNotFound, match=f"There is no boat {boat}"):
            await api.boat(boat)
        assert await api.named("ada") is None

    async def test_is_the_same_when_its_process_has_forgotten_the_states(
        self, start: StartApp, kind: type[Projection], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(states, "MAX_STATES", 0)
        app = await start(harbour(kind), subscriptions=True)
        api = app.api(Harbour)
        boat = await api.launch("Ada")
        for name in ("Bea", "Cleo", "Dora", "Eve", "Fay"):
            await api.rename(boat, (name,))
            await settled(app)

        assert (await api.boat(boat)).version == 6
        assert await problems(app) == []

    async def test_of_a_hidden_field_shows_nothing_to_callers(self, start: StartApp, kind: type[Projection]) -> None:
        app = await start(harbour(kind), subscriptions=True)
        api = app.api(Harbour)
        boat = await api.launch("Ada")
        await settled(app)

        answers: list[Any] = [await api.boat(boat), await api.named("ADA"), *(await api.boats()).items]

        assert [plain(answer) for answer in answers] == 3 * [{"id": boat, "name": "Ada", "version": 1}]
        assert answers[0].launched_at is msgspec.UNSET

    async def test_is_built_anew_by_replay(self, start: StartApp, kind: type[Projection]) -> None:
        app = await start(harbour(kind), subscriptions=True)
        api, runner = app.api(Harbour), app.running["harbour"].projections["boats"]
        boats = [await api.launch(f"boat {number}") for number in range(20)]
        for boat in boats:
            await api.rename(boat, (f"new {boat}", f"newer {boat}"))
        await api.sink(boats[0])

        await runner.rebuild()

        async def swapped() -> bool:
            return (await runner.progress()).live == 2

        await until(swapped)
        assert (await api.boats()).total == 19
        assert await problems(app) == []


class TestABehindState:
    async def test_is_that_at_the_reader_s_place_though_the_log_has_gone_on(self, start: StartApp) -> None:
        idle = await start(harbour(), subscriptions=False)
        api = idle.api(Harbour)
        boat = await api.launch("Ada")
        working = await start(harbour(), subscriptions=True)
        await settled(working)
        states_of = working.running["harbour"].projections["boats"]
        for number in range(10):
            await api.rename(boat, (f"name {number}",))

        await settled(working)

        assert (await working.api(Harbour).boat(boat)).name == "name 9"
        assert await problems(working) == []
        assert not (await states_of.progress()).parked

    async def test_that_can_not_be_made_parks_the_events_of_its_stream_alone(self, start: StartApp) -> None:
        app = await start(harbour(), subscriptions=True)
        api = app.api(Harbour)
        good, bad = await api.launch("Ada"), await api.launch("Bea")
        await api.rename(bad, ("Titanic",))
        await api.rename(bad, ("Cleo",))
        await api.rename(good, ("Dora",))
        await settled(app)

        parked = await app.running["harbour"].store.parked("boats@1")
        assert [(entry.key, bool(entry.error)) for entry in parked] == [(f"boat-{bad}", True), (f"boat-{bad}", False)]
        assert ((await api.boat(good)).name, (await api.boat(bad)).name) == ("Dora", "Bea")

    async def test_after_an_event_that_was_given_up_holds_it_all_the_same(self, start: StartApp) -> None:
        app = await start(harbour(), subscriptions=True)
        api, store = app.api(Harbour), app.running["harbour"].store
        boat = await api.launch("Ada")
        await api.rename(boat, ("Titanic",))
        await settled(app)
        (entry,) = await store.parked("boats@1")
        assert await ask(store, "boats@1", entry.position, "drop")

        async def given_up() -> bool:
            return not await store.parked("boats@1")

        await until(given_up)
        await api.rename(boat, ("Bea",))
        await settled(app)

        assert (await api.boat(boat)).version == 3
        assert await problems(app) == []


class TestAnInlineRow:
    async def test_is_there_with_its_commit_and_keeps_its_constraints(self, start: StartApp) -> None:
        api = (await start(harbour(BoatsAtOnce))).api(Harbour)
        boat = await api.launch("Ada")

        assert (await api.boat(boat)).name == "Ada"
        with pytest.raises(ValueTaken):
            await api.launch("ADA")

    async def test_is_refused_with_its_whole_unit_when_it_can_not_be_made(self, start: StartApp) -> None:
        api = (await start(harbour(BoatsAtOnce))).api(Harbour)
        boat = await api.launch("Ada")

        with pytest.raises(StatementFailed, match="no such name"):
            await api.rename(boat, ("Titanic",))

        assert (await api.boat(boat)).version == 1

    async def test_that_is_kept_in_memory_is_forgotten_when_its_aggregate_changes(self, start: StartApp) -> None:
        one = await start(harbour(BoatsAtOnce), subscriptions=True)
        two = await start(harbour(BoatsAtOnce), subscriptions=True)
        boat = await one.api(Harbour).launch("Ada")
        assert (await two.api(Harbour).boat(boat)).name == "Ada"

        await one.api(Harbour).rename(boat, ("Bea",))

        async def seen() -> bool:
            return (await two.api(Harbour).boat(boat)).name == "Bea"

        await until(seen)


class TestAnAnswerUnderAKey:
    async def test_holds_no_hidden_field(self, start: StartApp) -> None:
        app = await start(harbour(BoatsAtOnce))
        boat = await app.api(Harbour).launch("Ada")
        operation = Harbour.operations["boat"]

        answer = await app.call(operation, {"boat": boat}, Context())

        assert operation.encode_result(answer.result) == encode({"id": boat, "name": "Ada", "version": 1})


class TestAProjection:
    def test_has_one_of_two_forms(self) -> None:
        class Neither(Projection):
            pass

        class Both(Boats):
            rows: Rows[Afloat]

            def project(self, event: Recorded[Event]) -> None: ...

        with pytest.raises(WiringError, match="projection Neither defines neither row nor project; it must define one"):
            ProjectionDefinition(Neither)
        with pytest.raises(WiringError, match="projection Both defines row and project; it must define one"):
            ProjectionDefinition(Both)

    def test_of_an_aggregate_says_which_and_returns_a_row(self) -> None:
        class Vague(Projection):
            def row(self, boat: Any, event: Recorded[Event]) -> Afloat:
                raise NotImplementedError

        class Rowless(Projection):
            def row(self, boat: Boat, event: Recorded[Event]) -> str:  # type: ignore[override]
                raise NotImplementedError

        for kind in (Vague, Rowless):
            with pytest.raises(
                WiringError, match=f"{kind.__name__}.row must take an aggregate and its event, and retu"
            ):
                ProjectionDefinition(kind)

    def test_of_an_aggregate_keeps_one_row_for_it(self) -> None:
        class Pair(Row):
            one: Key[str]
            two: Key[str]

        class Pairs(Projection):
            def row(self, boat: Boat, event: Recorded[Event]) -> Pair:
                raise NotImplementedError

        with pytest.raises(WiringError, match="Pair must have one key, the id of its Boat"):
            ProjectionDefinition(Pairs)

    async def test_that_returns_the_row_of_another_aggregate_is_parked(self, start: StartApp) -> None:
        class Astray(Boats):
            name = "boats"

            def row(self, boat: Boat, event: Recorded[Event]) -> Afloat | None:
                row = super().row(boat, event)
                assert row is not None
                return msgspec.structs.replace(row, id=BoatId.derived("elsewhere"))

        app = await start(harbour(Astray), subscriptions=True)
        boat = await app.api(Harbour).launch("Ada")
        await settled(app)

        (entry,) = await app.running["harbour"].store.parked("boats@1")
        assert f"for boat-{boat}; the key of an aggregate's row is its id" in entry.error


class TestAHiddenField:
    async def test_that_is_not_given_can_not_be_stored(self, start: StartApp) -> None:
        class Careless(Boats):
            name = "boats"

            def row(self, boat: Boat, event: Recorded[Event]) -> Afloat | None:
                return Afloat(id=boat.id, name=boat.name, version=1)  # type: ignore[call-arg]

        app = await start(harbour(Careless), subscriptions=True)
        await app.api(Harbour).launch("Ada")
        await settled(app)

        (entry,) = await app.running["harbour"].store.parked("boats@1")
        assert "Afloat.launched_at isn't given" in entry.error

    def test_may_be_annotated_in_a_text(self) -> None:
        kind = type("Late", (Row,), {"__annotations__": {"id": "Key[str]", "sign": "Hidden[str]"}})

        assert kind(id="a").sign is msgspec.UNSET
