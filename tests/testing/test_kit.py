"""The test kit: an app in a test, its clock, its callers, and waiting for it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from craton.adapters.stores import stores
from craton.application import KeyReused, MisuseError, WiringError
from craton.application.context import Context, entered
from craton.domain import AccessDenied
from craton.runtime import App
from craton.testing import RunningApp, TurnedClock, run, settled, until
from craton.testing.clock import START
from tests.testing.workshop import (
    AlreadyRepaired,
    BlankOwner,
    Courier,
    Messages,
    Notes,
    OpenRoad,
    RepairId,
    Road,
    Workshop,
    app,
    courier,
    workshop,
)


async def held_up(running: RunningApp) -> str:
    """What a running app says is still under way."""
    with pytest.raises(TimeoutError) as caught:
        await running.settled(0.2)
    return str(caught.value)


class TestAnApp:
    async def test_runs_in_one_line(self) -> None:
        async with run(workshop) as running:
            repair = await running.api(Workshop).bring("Ann")

            assert (await running.api(Workshop).repair(repair)).owner == "Ann"

    async def test_may_be_modules_that_are_put_together(self) -> None:
        async with run(workshop, courier) as running:
            assert list(running.app.running) == ["workshop", "courier"]

    async def test_is_left_as_it_is_and_its_data_are_gone_at_the_end(self) -> None:
        for _ in range(2):
            async with run(app) as running:
                assert await running.api(Workshop).count() == 0
                await running.api(Workshop).bring("Ann")

        assert app.running == {}

    async def test_keeps_its_data_where_it_is_told_to(self, tmp_path: Path) -> None:
        for before in range(2):
            async with run(app, store="sqlite", folder=tmp_path) as running:
                assert await running.api(Workshop).count() == before
                await running.api(Workshop).bring("Ann")

    async def test_has_other_adapters_for_the_ports_that_are_replaced(self) -> None:
        notes = Notes()
        async with run(app, replace={Messages: notes}) as running:
            repair = await running.api(Workshop).bring("Ann")
            await running.api(Workshop).finish(repair)
            await running.settled()

        assert notes.texts == [f"{repair} is repaired"]
        assert workshop.provides[Messages] is not notes

    async def test_is_not_run_with_an_adapter_for_a_port_that_no_module_has(self) -> None:
        with pytest.raises(WiringError, match="app workshops: no module has an adapter for Path"):
            async with run(app, replace={Path: Notes()}):
                pass

    async def test_has_the_settings_of_the_test_and_none_of_the_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CRATON_WORKSHOP_REMINDER_MINUTES", "1")
        for settings, due in (({}, 60), ({"CRATON_WORKSHOP_REMINDER_MINUTES": "5"}, 5)):
            async with run(app, settings=settings) as running:
                repair = await running.api(Workshop).bring("Ann")

                await running.turn(minutes=due, seconds=-1)
                before = (await running.api(Workshop).repair(repair)).reminders
                await running.turn(seconds=1)
                after = (await running.api(Workshop).repair(repair)).reminders

            assert (before, after) == (0, 1)

    async def test_tells_what_its_start_has_said(self) -> None:
        async with run(app, settings={"CRATON_WORKSHOP_REMINDERS": "5"}) as running:
            assert running.said == ["CRATON_WORKSHOP_REMINDERS is set, but there is no such setting."]

    async def test_is_not_started_with_a_setting_that_can_not_be_used(self) -> None:
        with pytest.raises(WiringError, match="CRATON_WORKSHOP_REMINDER_MINUTES can't be used"):
            async with run(app, settings={"CRATON_WORKSHOP_REMINDER_MINUTES": "soon"}):
                pass

    async def test_does_nothing_in_the_background_without_subscriptions(self) -> None:
        notes = Notes()
        async with run(app, replace={Messages: notes}, subscriptions=False) as running:
            repair = await running.api(Workshop).bring("Ann")
            await running.api(Workshop).finish(repair)

            assert "workshop.announce@workshop of workshop is 2 positions behind" in await held_up(running)
            assert notes.texts == []

    async def test_shows_operators_what_it_does(self) -> None:
        async with run(app) as running:
            readers = await running.operations.readers()

        assert {reader.name for reader in readers} >= {"repairs@1", "workshop.announce@workshop", "sagas"}


class TestACall:
    async def test_is_encoded_and_decoded_on_its_way(self) -> None:
        class Owner(str):
            pass

        async with run(workshop) as running:
            with pytest.raises(TypeError, match="Owner can't be encoded"):
                await running.api(Workshop).bring(Owner("Ann"))
            with pytest.raises(BlankOwner):
                await running.api(Workshop).bring("")
            repair = await running.api(Workshop).bring("Ann")
            await running.api(Workshop).finish(repair)

            with pytest.raises(AlreadyRepaired) as refused:
                await running.api(Workshop).finish(repair)

        assert type(repair) is RepairId
        assert (refused.value.owner, refused.value.reminders) == ("Ann", 0)

    async def test_can_not_be_made_to_a_module_that_is_not_there(self) -> None:
        async with run(workshop) as running:
            with pytest.raises(WiringError, match="no module provides Courier"):
                running.api(Courier)

    async def test_of_a_query_sees_all_that_was_committed_before(self) -> None:
        async with run(app) as running:
            for count in range(1, 30):
                await running.api(Workshop).bring("Ann")

                assert await running.api(Workshop).count() == count


class TestACaller:
    async def test_with_an_id_comes_from_outside_and_has_roles(self) -> None:
        async with run(app) as running:
            ann, chief = running.as_("ann"), running.as_("chief", "master", "cook")

            assert await ann.api(Workshop).caller() == "ann, ann: "
            assert await chief.api(Workshop).caller() == "chief, chief: cook, master"

    async def test_without_an_id_is_the_application_itself(self) -> None:
        async with run(app) as running:
            assert await running.api(Workshop).caller() == "None, within"

    async def test_may_do_what_its_id_and_its_roles_allow(self) -> None:
        async with run(app) as running:
            repair = await running.api(Workshop).bring("ann")

            for allowed in (running, running.as_("ann"), running.as_("chief", "master")):
                assert (await allowed.api(Workshop).repair(repair)).id == repair
            with pytest.raises(AccessDenied):
                await running.as_("bob", "cook").api(Workshop).repair(repair)

    async def test_stays_who_it_is_when_it_calls_from_within_another_call(self) -> None:
        async with run(app) as running:
            with entered(Context(actor="bob")):
                assert await running.as_("ann").api(Workshop).caller() == "ann, ann: "


class TestAKey:
    async def test_makes_a_repeated_command_have_one_effect(self) -> None:
        async with run(app) as running:
            once = running.once("cart-7").api(Workshop)

            assert await once.bring("Ann") == await once.bring("Ann")
            assert await once.count() == 1

    async def test_is_good_for_one_request(self) -> None:
        async with run(app) as running:
            await running.once("cart-7").api(Workshop).bring("Ann")

            with pytest.raises(KeyReused):
                await running.once("cart-7").api(Workshop).bring("Bob")

    async def test_belongs_to_its_caller(self) -> None:
        async with run(app) as running:
            for name in ("ann", "bob"):
                for _ in range(2):
                    await running.as_(name).once("cart-7").api(Workshop).bring("Ann")

            assert await running.api(Workshop).count() == 2


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

            times = [event.time async for event in running.app.running["workshop"].events()]

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

            events = [event async for event in running.app.running["workshop"].events()]
        days = [(event.time - START).days for event in events if event.type == "Warned"]
        assert days == [0, 1, 2, 3]
        assert (running.clock() - START).days == 30

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

    async def test_does_not_wait_for_what_is_parked(self) -> None:
        class Broken:
            async def send(self, text: str) -> None:
                raise MisuseError("broken")

        async with run(app, replace={Messages: Broken()}) as running:
            repair = await running.api(Workshop).bring("Ann")
            await running.api(Workshop).finish(repair)

            await running.settled()

            (parked,) = (await running.operations.parked()).items
        assert parked.reader == "workshop.announce@workshop"

    async def test_is_there_for_apps_that_are_run_otherwise(self, tmp_path: Path) -> None:
        other = App("others", modules=[workshop])
        async with other.run(stores("sqlite", tmp_path, "others")):
            await other.api(Workshop).bring("Ann")

            await settled(other)

            assert await other.api(Workshop).count() == 1


async def _has_read(running: RunningApp) -> bool:
    return not (await running.app.projections["courier.sagas"].progress()).lag
