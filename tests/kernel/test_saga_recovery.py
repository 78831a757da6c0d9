"""Sagas when processes stop, take over, run side by side, or have other definitions: nothing is done twice."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from structlog.testing import capture_logs

from craton.application import Module, Saga, Sagas, step
from craton.application.sagas.definition import SagaDefinition
from craton.application.sagas.state import Status, StepStatus
from craton.runtime.sagas import runner
from craton.runtime.sagas.control import SagaControl, Stranded
from craton.runtime.subscriptions.feed import EventPage
from tests.conftest import Place
from tests.kernel.office import QUICK, Expedition, Office, Tours, opened, tours
from tests.kernel.travel import Desk, SoldOut, TripId, Weather

THINGS = ("base", "left", "right", "top", "home")


class Guided(Saga):
    trip: TripId
    guide: str = ""

    @step(retry=QUICK)
    async def hire(self, desk: Desk) -> None:
        self.guide = await desk.book(self.trip, "guide")
        await desk.book(self.trip, "map")


class TestRestarting:
    @pytest.mark.parametrize("stopped_at", ["base", "left", "top"])
    async def test_a_saga_whose_process_stops_in_the_middle_of_a_step_is_finished_by_another(
        self, place: Place, stopped_at: str
    ) -> None:
        weather = Weather()
        weather.plan(stopped_at, asyncio.Event())
        async with opened(place, weather, tours(Expedition)) as first:
            trip = await first.begin()
            await weather.called(stopped_at)

        async with opened(place, Weather(), tours(Expedition)) as second:
            await second.at_rest(trip, Status.COMPLETED)
            assert await second.booked(trip, *THINGS) == dict.fromkeys(THINGS, 1)

    async def test_what_ran_before_the_process_stopped_is_answered_as_it_was(self, place: Place) -> None:
        weather, elsewhere = Weather(), Weather()
        weather.plan("map", asyncio.Event())
        elsewhere.plan("guide", SoldOut())
        async with opened(place, weather, tours(Guided)) as first:
            trip = await first.begin()
            await weather.called("map")

        async with opened(place, elsewhere, tours(Guided)) as second:
            saga = await second.at_rest(trip, Status.COMPLETED)
            assert await second.booked(trip, "guide", "map") == {"guide": 1, "map": 1}
            assert saga.fields["guide"] == f"guide/{trip}"

    async def test_a_compensation_whose_process_stops_is_finished_by_another(self, place: Place) -> None:
        weather = Weather()
        weather.plan("top", SoldOut())
        weather.plan("undo right", asyncio.Event())
        async with opened(place, weather, tours(Expedition)) as first:
            trip = await first.begin()
            await weather.called("undo right")
            await first.reached(trip, "left", StepStatus.UNDONE)

        async with opened(place, Weather(), tours(Expedition)) as second:
            await second.at_rest(trip, Status.COMPENSATED)
            assert await second.booked(trip, *THINGS) == dict.fromkeys(THINGS, 0)
            assert second.weather.calls == ["undo right", "undo base"]

    async def test_a_saga_that_has_ended_is_left_alone(self, place: Place) -> None:
        async with opened(place, Weather(), tours(Expedition)) as first:
            trip = await first.begin()
            ended = await first.at_rest(trip, Status.COMPLETED)

        async with opened(place, Weather(), tours(Expedition)) as second:
            await second.at_rest(await second.begin(), Status.COMPLETED)
            assert (await second.saga(trip)).version == ended.version
            assert Counter(second.weather.calls) == Counter(THINGS)

    async def test_orders_are_carried_out_after_a_restart(self, place: Place) -> None:
        weather = Weather()
        weather.plan("top", SoldOut())
        weather.plan("undo base", SoldOut())
        async with opened(place, weather, tours(Expedition)) as first:
            trip = await first.begin()
            await first.at_rest(trip, Status.STUCK)

        async with opened(place, Weather(), tours(Expedition)) as second:
            await second.order(SagaControl.retry, trip, reason="after the night")
            await second.at_rest(trip, Status.COMPENSATED)
            assert await second.booked(trip, "base") == {"base": 0}


async def _drive_too(office: Office, trip: TripId) -> None:
    """Have an office drive a saga though it may not be the owner, as one does that was only thought dead."""
    module = office.app.running["tours"]
    assert module.sagas is not None
    events = [event async for event in module.source.stored() if event.stream == f"saga-{trip}"]
    await module.sagas.runner.handle(EventPage(events, events[-1].position, module.module.events), events)


class TestTwoProcesses:
    async def test_every_saga_is_run_once(self, place: Place) -> None:
        async with (
            opened(place, Weather(), tours(Expedition)) as one,
            opened(place, Weather(), tours(Expedition)) as two,
        ):
            trips = await asyncio.gather(*(office.begin() for office in (one, two) for _ in range(5)))

            for trip in trips:
                await one.at_rest(trip, Status.COMPLETED)
                assert await two.booked(trip, *THINGS) == dict.fromkeys(THINGS, 1)
                assert Counter(await two.happened(trip, "StepDone")) == Counter(THINGS)

    async def test_two_that_drive_the_same_saga_do_each_thing_once(self, place: Place) -> None:
        async with (
            opened(place, Weather(), tours(Expedition)) as one,
            opened(place, Weather(), tours(Expedition)) as two,
        ):
            slow = [asyncio.Event(), asyncio.Event()]
            for office, event in zip((one, two), slow, strict=True):
                office.weather.plan("left", event)
            trip = await one.begin()
            await _drive_too(one, trip)
            await _drive_too(two, trip)
            await one.weather.called("left")
            await two.weather.called("left")

            for event in slow:
                event.set()

            await one.at_rest(trip, Status.COMPLETED)
            assert await two.booked(trip, *THINGS) == dict.fromkeys(THINGS, 1)
            assert Counter(await two.happened(trip, "StepDone")) == Counter(THINGS)

    async def test_two_that_undo_the_same_saga_undo_each_thing_once(self, place: Place) -> None:
        async with (
            opened(place, Weather(), tours(Expedition)) as one,
            opened(place, Weather(), tours(Expedition)) as two,
        ):
            slow = [asyncio.Event(), asyncio.Event()]
            for office, event in zip((one, two), slow, strict=True):
                office.weather.plan("top", SoldOut())
                office.weather.plan("undo left", event)
            trip = await one.begin()
            await one.reached(trip, "left", StepStatus.UNDOING)
            await _drive_too(one, trip)
            await _drive_too(two, trip)
            await one.weather.called("undo left")
            await two.weather.called("undo left")

            for event in slow:
                event.set()

            await one.at_rest(trip, Status.COMPENSATED)
            assert await two.booked(trip, *THINGS) == dict.fromkeys(THINGS, 0)
            assert Counter(await two.happened(trip, "UndoDone")) == Counter(["left", "right", "base"])

    async def test_when_the_owner_stops_the_other_goes_on(self, place: Place) -> None:
        weather = Weather()
        weather.plan("top", asyncio.Event())
        async with opened(place, Weather(), tours(Expedition)) as other:
            async with opened(place, weather, tours(Expedition)) as owner:
                trip = await owner.begin()
                await _drive_too(owner, trip)
                await owner.reached(trip, "top", StepStatus.RUNNING, StepStatus.DONE)

            await other.at_rest(trip, Status.COMPLETED)
            assert await other.booked(trip, *THINGS) == dict.fromkeys(THINGS, 1)


def _walk(*, longer: bool) -> type[Saga]:
    """Two definitions of the same name."""

    class Walk(Saga):
        trip: TripId

        @step(retry=QUICK)
        async def there(self, desk: Desk) -> None:
            await desk.book(self.trip, "there")

        @step(after=there, retry=QUICK)
        async def back(self, desk: Desk) -> None:
            await desk.book(self.trip, "back")

        if longer:

            @step(after="back", retry=QUICK)
            async def again(self, desk: Desk) -> None:
                await desk.book(self.trip, "again")

    return Walk


class TestDefinitions:
    @pytest.fixture
    async def stranded(self, place: Place) -> TripId:
        """A saga that was started with a definition of two steps, and hasn't ended."""
        weather = Weather()
        weather.plan("back", asyncio.Event())
        async with opened(place, weather, tours(_walk(longer=False))) as office:
            trip = await office.begin()
            await weather.called("back")
            return trip

    async def test_a_program_with_another_definition_says_so_in_its_log(self, place: Place, stranded: TripId) -> None:
        with capture_logs() as logs:
            async with opened(place, Weather(), tours(_walk(longer=True))):
                while not (said := [line for line in logs if "another definition" in line["event"]]):
                    await asyncio.sleep(0.005)

        (line,) = said
        assert line == {
            "event": "sagas of another definition wait for a program that has it",
            "log_level": "error",
            "saga": "Walk",
            "fingerprint": SagaDefinition(_walk(longer=False)).fingerprint,
            "count": 1,
        }

    async def test_it_leaves_such_a_saga_alone_and_runs_its_own(self, place: Place, stranded: TripId) -> None:
        async with opened(place, Weather(), tours(_walk(longer=True))) as office:
            before = await office.saga(stranded)

            own = await office.at_rest(await office.begin(), Status.COMPLETED)

            assert [step.name for step in own.steps] == ["there", "back", "again"]
            assert await office.saga(stranded) == before
            assert office.weather.calls == ["there", "back", "again"]

    async def test_a_program_that_has_its_definition_finishes_it_later(self, place: Place, stranded: TripId) -> None:
        async with opened(place, Weather(), tours(_walk(longer=True))) as office:
            await office.at_rest(await office.begin(), Status.COMPLETED)

        async with opened(place, Weather(), tours(_walk(longer=False))) as office:
            await office.at_rest(stranded, Status.COMPLETED)
            assert await office.booked(stranded, "there", "back") == {"there": 1, "back": 1}

    async def test_a_program_that_names_its_definition_as_a_former_one_finishes_it(
        self, place: Place, stranded: TripId
    ) -> None:
        later: Any = _walk(longer=True)
        later.former_fingerprints = (SagaDefinition(_walk(longer=False)).fingerprint,)

        async with opened(place, Weather(), tours(later)) as office:
            await office.at_rest(stranded, Status.COMPLETED)
            assert await office.booked(stranded, "there", "back") == {"there": 1, "back": 1}

    async def test_orders_that_need_its_definition_are_refused(self, place: Place, stranded: TripId) -> None:
        async with opened(place, Weather(), tours(_walk(longer=True))) as office:
            with pytest.raises(Stranded):
                await office.order(SagaControl.compensate, stranded, reason="why not")

    async def test_it_can_be_resolved_all_the_same(self, place: Place, stranded: TripId) -> None:
        async with opened(place, Weather(), tours(_walk(longer=True))) as office:
            await office.order(SagaControl.resolve, stranded, note="she walked home")

            assert (await office.saga(stranded)).status is Status.RESOLVED


async def test_sagas_of_one_kind_that_hang_keep_those_of_another_waiting_for_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "MAX_DRIVEN", 2)
    weather = Weather()
    weather.plan("guide", *(asyncio.Event() for _ in range(3)))

    class Service(Tours):
        def __init__(self, guided: Sagas[Guided], expeditions: Sagas[Expedition]) -> None:
            self._guided = guided
            self._expeditions = expeditions

        async def begin(self, trip: TripId, *, on_second_thoughts: bool = False) -> TripId:
            if on_second_thoughts:
                self._expeditions.start(Expedition(trip=trip), id=trip)
            else:
                self._guided.start(Guided(trip=trip), id=trip)
            return trip

    module = Module("tours", api=Tours, service=Service, sagas=[Guided, Expedition])
    async with opened(place, weather, module) as office:
        for _ in range(3):
            await office.app.api(Tours).begin(TripId.new())
        await weather.called("guide", 2)

        trip = await office.app.api(Tours).begin(TripId.new(), on_second_thoughts=True)

        await office.at_rest(trip, Status.COMPLETED)
        assert weather.calls.count("guide") == 2
