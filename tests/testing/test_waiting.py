"""The kit's clock, and waiting for what goes on in the background."""

import asyncio
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from craton.adapters.stores import stores
from craton.application import MisuseError
from craton.domain import Text
from craton.runtime import App
from craton.testing import RunningApp, TurnedClock, run, settled, until
from craton.testing.clock import START
from tests.testing.workshop import Courier, Messages, Notes, OpenRoad, Repairs, Road, Workshop, app, idle, workshop


async def held_up(running: RunningApp) -> str:
    """What a running app says is still under way."""
    with pytest.raises(TimeoutError) as caught:
        await running.settled(0.2)
    return str(caught.value)


class TestTheClock:
    def test_stands_still_until_it_is_turned_forwards(self) -> None:
        clock = TurnedClock()

        assert clock() == clock() == START
        assert clock.turn(hours=1, seconds=-1) == clock() == clock.time
        assert (clock() - START).total_seconds() == 3_599
        with pytest.raises(ValueError, match="a clock is only turned forwards"):
            clock.turn(seconds=-1)
        assert (clock() - START).total_seconds() == 3_599

    async def test_is_the_time_of_the_app(self) -> None:
        async with run(app) as running:
            repair = await running.api(Workshop).bring("Ann")
            running.clock.turn(days=1)
            await running.api(Workshop).finish(repair)

            times = [event.time async for event in running.app.running["workshop"].source.stored()]

        assert [(time - START).days for time in times] == [0, 1]

    async def test_may_be_shared_by_apps_that_run_one_after_the_other(self, tmp_path: Path) -> None:
        clock = TurnedClock()
        async with run(app, clock=clock, store="sqlite", folder=tmp_path) as running:
            repair = await running.api(Workshop).bring("Ann")
        clock.turn(hours=1)

        async with run(app, clock=clock, store="sqlite", folder=tmp_path) as running:
            await running.settled()

            assert (await running.api(Workshop).repair(repair)).reminders == 1

    async def test_when_turned_by_the_app_stops_at_each_time_at_which_something_is_due(self) -> None:
        async with run(app) as running:
            repair = await running.api(Workshop).bring("Ann")
            await running.api(Workshop).warn(repair, days=3)
            await running.api(Workshop).bring("Bob")

            await running.turn(days=30)

            events = [event async for event in running.app.running["workshop"].source.stored()]
        days = [(event.time - START).days for event in events if event.type == "Warned"]
        assert days == [0, 1, 2, 3]
        assert (running.clock() - START).days == 30

    async def test_when_turned_by_the_app_has_first_all_done_that_is_due_already(self) -> None:
        async with run(app) as running:
            repair = await running.api(Workshop).bring("Ann")
            await running.api(Courier).collect(repair)

            await running.turn(hours=1)

            events = [event async for event in running.app.running["courier"].source.stored()]
        assert {event.time for event in events} == {START}

    async def test_when_turned_by_the_app_has_all_done_that_is_due(self) -> None:
        async with run(app) as running:
            repairs = [await running.api(Workshop).bring("Ann") for _ in range(20)]

            await running.turn(hours=1)

            assert [(await running.api(Workshop).repair(repair)).reminders for repair in repairs] == [1] * 20


class TestUntil:
    async def test_returns_the_first_answer_that_is_true(self) -> None:
        answers: Iterator[Any] = iter([0, "", None, [], "yes", "no"])

        assert await until(lambda: next(answers)) == "yes"

    async def test_asks_functions_that_are_async_too(self) -> None:
        answers = iter([False, False, True])

        async def is_there() -> bool:
            await asyncio.sleep(0)
            return next(answers)

        assert await until(is_there) is True

    async def test_gives_up_with_the_name_of_what_has_not_become_true(self) -> None:
        def pigs_can_fly() -> bool:
            return False

        with pytest.raises(TimeoutError, match=r"^pigs_can_fly has not become true within 0\.02 seconds$"):
            await until(pigs_can_fly, seconds=0.02)

    async def test_gives_up_a_function_that_hangs(self) -> None:
        async def hangs() -> None:
            await asyncio.Event().wait()

        with pytest.raises(TimeoutError, match="hangs has not become true"):
            await until(hangs, seconds=0.02)

    @pytest.mark.parametrize("problem", [LookupError("broken"), TimeoutError("its own")])
    async def test_passes_on_what_the_function_raises(self, problem: Exception) -> None:
        def fails() -> None:
            raise problem

        with pytest.raises(type(problem)) as caught:
            await until(fails)
        assert caught.value is problem


class TestSettled:
    async def test_waits_for_readers(self) -> None:
        notes = Notes()
        notes.may_send.clear()
        async with run(app, replace={Messages: notes}) as running:
            repair = await running.api(Workshop).bring("Ann")
            await running.api(Workshop).finish(repair)

            said = await held_up(running)
            notes.may_send.set()
            await running.settled()

        assert said.startswith("not settled within 0.2 seconds: workshop.announce@workshop of workshop is ")
        assert notes.texts == [f"{repair} is repaired"]

    async def test_waits_for_timers_that_are_due(self) -> None:
        async with run(app, subscriptions=False) as running:
            await running.api(Workshop).bring("Ann")

            early = await held_up(running)
            running.clock.turn(hours=1)
            late = await held_up(running)

        assert "a timer of workshop is due" not in early
        assert "a timer of workshop is due" in late

    async def test_waits_for_a_saga_whose_step_runs(self) -> None:
        road = OpenRoad()
        road.is_free.clear()
        async with run(app, replace={Road: road}) as running:
            repair = await running.api(Workshop).bring("Ann")
            await running.api(Courier).collect(repair)
            await until(lambda: road.rides)

            assert "a saga of courier is being driven" in await held_up(running)

            road.is_free.set()
            await running.settled()
            assert road.rides == 1

    async def test_waits_for_a_saga_that_is_to_begin(self) -> None:
        async with run(app, subscriptions=False) as running:
            repair = await running.api(Workshop).bring("Ann")
            await running.api(Courier).collect(repair)
            index = running.app.projections["courier.sagas"]
            following = asyncio.create_task(index.runner.run())
            await until(lambda: _has_read(running))
            following.cancel()

            assert f"the saga {repair} of courier is due" in await held_up(running)

    async def test_does_not_wait_for_a_saga_that_waits_for_its_event(self) -> None:
        road, notes = OpenRoad(), Notes()
        async with run(app, replace={Road: road, Messages: notes}) as running:
            repair = await running.api(Workshop).bring("Ann")
            await running.api(Courier).collect(repair)
            await running.settled()
            assert road.rides == 1

            await running.api(Workshop).finish(repair)
            await running.settled()

            assert road.rides == 2
            assert [saga.status for saga in (await running.operations.sagas()).items] == ["completed"]

    async def test_does_not_wait_for_a_saga_that_waits_for_a_later_time(self) -> None:
        road = OpenRoad(failures=1)
        async with run(app, replace={Road: road}) as running:
            repair = await running.api(Workshop).bring("Ann")
            await running.api(Courier).collect(repair)
            await running.settled()
            assert road.rides == 1

            await running.turn(minutes=10)  # longer than the step may take: it is tried again on the way

            assert road.rides == 2
            assert [saga.status for saga in (await running.operations.sagas()).items] == ["running"]

    async def test_waits_for_what_the_turned_clock_makes_due_of_a_saga(self) -> None:
        async with run(app) as running:
            repair = await running.api(Workshop).bring("Ann")
            await running.api(Courier).collect(repair)
            await running.settled()

            await running.turn(minutes=600)  # the time of the step that waits is over

            (saga,) = (await running.operations.sagas()).items
        assert saga.status == "compensated"

    async def test_does_not_wait_for_what_is_parked_but_for_what_an_operator_asks_for(self) -> None:
        class Broken(Notes):
            is_broken = True

            async def send(self, text: str) -> None:
                if self.is_broken:
                    raise MisuseError("broken")
                await super().send(text)

        notes = Broken()
        async with run(app, replace={Messages: notes}) as running:
            repair = await running.api(Workshop).bring("Ann")
            await running.api(Workshop).finish(repair)
            await running.settled()
            (parked,) = (await running.operations.parked()).items
            assert parked.reader == "workshop.announce@workshop"

            notes.is_broken = False
            notes.may_send.clear()
            await running.operations.retry_parked("workshop", reason=Text("it works again"))
            assert "workshop has not done yet what an operator asked for" in await held_up(running)

            notes.may_send.set()
            await running.settled()

            assert notes.texts == [f"{repair} is repaired"]
            assert (await running.operations.parked()).total == 0

    async def test_waits_for_a_read_model_that_is_being_built(self) -> None:
        async with run(app) as running:
            for _ in range(20):
                await running.api(Workshop).bring("Ann")
            await running.app.projections["workshop.repairs"].rebuild()

            await running.settled()

            progress = await running.app.projections["workshop.repairs"].progress()
            assert (progress.live, progress.building, await running.api(Workshop).count()) == (2, 0, 20)

    async def test_does_not_wait_for_a_read_model_that_can_not_be_built(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> None:
            raise LookupError("broken")

        async with run(app) as running:
            await running.api(Workshop).bring("Ann")
            await running.settled()
            monkeypatch.setattr(Repairs, "row", broken)
            await running.app.projections["workshop.repairs"].rebuild()

            await running.settled()

            progress = await running.app.projections["workshop.repairs"].progress()
            assert (progress.live, progress.building, progress.parked_building) == (1, 2, 1)

    async def test_waits_while_events_are_recorded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        heads = count()

        async def head() -> int:
            return next(heads)

        async with run(idle) as running:
            await running.settled()
            monkeypatch.setattr(running.app.running["idle"].store, "head", head)

            assert "idle is recording events" in await held_up(running)

    async def test_is_there_for_apps_that_are_run_otherwise(self, tmp_path: Path) -> None:
        other = App("others", modules=[workshop])
        async with other.run(stores("sqlite", tmp_path, "others")):
            await other.api(Workshop).bring("Ann")

            await settled(other)

            assert await other.api(Workshop).count() == 1


async def _has_read(running: RunningApp) -> bool:
    return not (await running.app.projections["courier.sagas"].progress()).lag
