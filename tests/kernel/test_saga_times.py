"""Sagas and time: what takes too long is called off, except past the pivot; and how they wait for events."""

import asyncio
from datetime import timedelta
from typing import ClassVar

from craton.application import Saga, seconds, step, wait_for
from craton.application.sagas.state import Status, StepStatus
from craton.domain import Recorded
from tests.kernel.conftest import Clock, OpenOffice
from tests.kernel.office import QUICK, Office, Passage
from tests.kernel.travel import Booked, Desk, SoldOut, TripId, Weather


class Slow(Saga):
    """May take three seconds, its first step two."""

    timeout: ClassVar[timedelta | None] = seconds(3)
    trip: TripId

    @step(retry=QUICK, timeout=seconds(2))
    async def train(self, desk: Desk) -> None:
        await desk.book(self.trip, "train")

    @train.undo
    async def cancel_train(self, desk: Desk) -> None:
        await desk.cancel(self.trip, "train")

    @step(after=train, retry=QUICK, timeout=seconds(60))
    async def bus(self, desk: Desk) -> None:
        await desk.book(self.trip, "bus")


class TestTimeouts:
    async def test_a_step_that_takes_too_long_is_called_off(
        self, open_office: OpenOffice, weather: Weather, clock: Clock
    ) -> None:
        office = await open_office(Slow, clock=clock)
        weather.cut["train"] = 1
        trip = await office.begin()
        await office.attempted(trip, "train", done=1)

        clock.forward(seconds=2)

        saga = await office.at_rest(trip, Status.COMPENSATED)
        assert (saga.code, saga.reason) == ("timed-out", "train took too long.")
        assert office.step(saga, "train").status is StepStatus.NEVER_RAN

    async def test_a_step_has_all_its_time(self, open_office: OpenOffice, weather: Weather, clock: Clock) -> None:
        office = await open_office(Slow, clock=clock)
        weather.cut["train"] = 1
        trip = await office.begin()
        await office.attempted(trip, "train", done=1)

        clock.forward(seconds=1)

        await office.at_rest(trip, Status.COMPLETED)

    async def test_a_step_that_never_answers_is_called_off_and_what_it_did_is_undone(
        self, open_office: OpenOffice, weather: Weather, clock: Clock
    ) -> None:
        office = await open_office(Slow, clock=clock)
        weather.lost["train"] = 1
        trip = await office.begin()
        await office.attempted(trip, "train", done=1)

        clock.forward(seconds=2)

        await office.at_rest(trip, Status.COMPENSATED)
        assert await office.booked(trip, "train") == {"train": 0}

    async def test_a_saga_that_takes_too_long_compensates(
        self, open_office: OpenOffice, weather: Weather, clock: Clock
    ) -> None:
        office = await open_office(Slow, clock=clock)
        weather.cut["bus"] = 1
        trip = await office.begin()
        await office.attempted(trip, "bus", done=1)

        clock.forward(seconds=3)

        saga = await office.at_rest(trip, Status.COMPENSATED)
        assert (saga.code, saga.reason) == ("timed-out", "The whole took too long.")
        assert await office.booked(trip, "train") == {"train": 0}

    async def test_past_the_pivot_nothing_takes_too_long(
        self, open_office: OpenOffice, weather: Weather, clock: Clock
    ) -> None:
        office = await open_office(Passage, clock=clock)
        weather.cut["sail"] = weather.cut["postcard"] = 1
        trip = await office.begin()
        await office.attempted(trip, "sail", done=1)
        clock.forward(days=400)
        await office.attempted(trip, "postcard", done=1)

        clock.forward(days=400)

        await office.at_rest(trip, Status.COMPLETED)

    async def test_a_compensation_of_a_step_that_calls_a_port_has_time_of_its_own(
        self, open_office: OpenOffice, weather: Weather, clock: Clock
    ) -> None:
        class Letter(Saga):
            trip: TripId

            @step(retry=QUICK, timeout=seconds(2))
            async def post(self, post: Weather) -> None:
                await post.meet("post")

            @post.undo(retry=QUICK)
            async def recall(self, desk: Desk) -> None:
                await desk.cancel(self.trip, "letter")

        office = await open_office(Letter, clock=clock, provides={Weather: weather})
        weather.plan("post", OSError("the line is dead"))
        weather.plan("undo letter", lambda: asyncio.sleep(0.05))
        trip = await office.begin()
        await office.attempted(trip, "post", done=1)

        clock.forward(seconds=2)

        await office.at_rest(trip, Status.COMPENSATED)
        assert weather.calls == ["post", "undo letter"]

    async def test_a_compensation_has_time_of_its_own(
        self, open_office: OpenOffice, weather: Weather, clock: Clock
    ) -> None:
        office = await open_office(Slow, clock=clock)
        weather.lost["train"] = 1
        weather.lost["undo train"] = 1
        trip = await office.begin()
        await office.attempted(trip, "train", done=1)
        clock.forward(seconds=2)
        await office.attempted(trip, "train", undone=1)

        clock.forward(days=400)

        await office.at_rest(trip, Status.COMPENSATED)
        assert await office.booked(trip, "train") == {"train": 0}


class Border(Saga):
    """A bus, and side by side with it the wait for a visa; then across."""

    trip: TripId
    visas: int = 0
    stamp: int = 0

    @step(retry=QUICK)
    async def bus(self, desk: Desk) -> None:
        await desk.book(self.trip, "bus")

    @bus.undo
    async def cancel_bus(self, desk: Desk) -> None:
        await desk.cancel(self.trip, "bus")

    @wait_for(lambda event: event.data.trip if event.data.what == "visa" else None, after=bus, timeout=seconds(30))
    async def visa(self, event: Recorded[Booked], desk: Desk) -> None:
        self.visas += 1
        self.stamp = event.version
        await desk.book(self.trip, "form")


class TestWaiting:
    async def test_a_step_goes_on_with_the_event_that_it_waits_for(self, open_office: OpenOffice) -> None:
        office = await open_office(Border)
        trip = await office.begin()
        await office.reached(trip, "visa", StepStatus.WAITING)

        await office.desk.book(trip, "visa")

        saga = await office.at_rest(trip, Status.COMPLETED)
        assert (saga.fields["visas"], saga.fields["stamp"]) == (1, 1)
        assert await office.booked(trip, "form") == {"form": 1}

    async def test_an_event_that_comes_before_the_step_begins_is_kept_for_it(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Border)
        early = TripId.new()
        weather.plan("bus", lambda: _arrived(office, early))
        await office.begin(early)

        await office.desk.book(early, "visa")

        saga = await office.at_rest(early, Status.COMPLETED)
        assert [e.type for e in await office.history(early)].index("EventArrived") < 3
        assert saga.fields["visas"] == 1

    async def test_the_first_of_two_events_counts(self, open_office: OpenOffice, weather: Weather) -> None:
        office = await open_office(Border)
        trip = TripId.new()
        weather.plan("bus", lambda: _arrived(office, trip))
        await office.begin(trip)

        await office.desk.book(trip, "visa")
        await office.desk.book(trip, "visa")
        await office.was_told("tours.Border.visa")

        saga = await office.at_rest(trip, Status.COMPLETED)
        assert (saga.fields["visas"], saga.fields["stamp"]) == (1, 1)
        assert await office.happened(trip, "EventArrived") == ["visa"]

    async def test_an_event_for_no_saga_is_passed_over(self, open_office: OpenOffice) -> None:
        office = await open_office(Border)
        await office.desk.book(TripId.new(), "visa")
        trip = await office.begin()
        await office.desk.book(trip, "passport")

        await office.desk.book(trip, "visa")

        await office.at_rest(trip, Status.COMPLETED)
        assert await office.app.running["desk"].store.parked() == []

    async def test_an_event_for_a_saga_that_has_ended_is_passed_over(self, open_office: OpenOffice) -> None:
        office = await open_office(Border)
        trip = await office.begin()
        await office.desk.book(trip, "visa")
        ended = await office.at_rest(trip, Status.COMPLETED)

        await office.desk.book(trip, "visa")
        await office.was_told("tours.Border.visa")

        assert (await office.saga(trip)).version == ended.version
        assert await office.app.running["desk"].store.parked() == []

    async def test_an_event_for_a_saga_of_another_kind_is_passed_over(self, office: Office, weather: Weather) -> None:
        trip = await office.agency.plan("Ada")
        await office.desk.book(trip, "visa")
        await office.was_told("agency.Visa.visa")
        saga = await office.at_rest(trip, Status.COMPLETED)

        assert saga.saga == "Journey"
        assert await office.happened(trip, "EventArrived") == []
        assert await office.app.running["desk"].store.parked() == []

    async def test_when_nothing_comes_in_time_the_saga_compensates(self, open_office: OpenOffice, clock: Clock) -> None:
        office = await open_office(Border, clock=clock)
        trip = await office.begin()
        await office.reached(trip, "visa", StepStatus.WAITING)

        clock.forward(seconds=30)

        saga = await office.at_rest(trip, Status.COMPENSATED)
        assert (saga.code, saga.reason) == ("timed-out", "visa took too long.")
        assert office.step(saga, "visa").status is StepStatus.NEVER_RAN
        assert await office.booked(trip, "bus") == {"bus": 0}
        assert await office.happened(trip, "UndoBegun") == ["bus"]
        assert [e.type for e in await office.history(trip)].count("CompensationBegun") == 1

    async def test_an_event_that_comes_when_the_saga_compensates_is_too_late(
        self, open_office: OpenOffice, clock: Clock
    ) -> None:
        office = await open_office(Border, clock=clock)
        trip = await office.begin()
        await office.reached(trip, "visa", StepStatus.WAITING)
        clock.forward(seconds=30)
        await office.at_rest(trip, Status.COMPENSATED)

        await office.desk.book(trip, "visa")
        await office.was_told("tours.Border.visa")

        assert await office.happened(trip, "EventArrived") == []

    async def test_an_event_is_taken_though_another_step_is_busy(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        class Both(Saga):
            trip: TripId

            @step
            async def boat(self, desk: Desk) -> None:
                await desk.book(self.trip, "boat")

            @wait_for(lambda event: event.data.trip if event.data.what == "visa" else None)
            async def visa(self, event: Recorded[Booked], desk: Desk) -> None:
                await desk.book(self.trip, "stamp")

        office = await open_office(Both)
        weather.plan("boat", lambda: weather.called("stamp"))
        trip = await office.begin()
        await weather.called("boat")

        await office.desk.book(trip, "visa")

        await office.at_rest(trip, Status.COMPLETED)

    async def test_an_event_may_be_a_refusal(self, open_office: OpenOffice) -> None:
        class Strict(Saga):
            trip: TripId

            @wait_for(lambda event: event.data.trip if event.data.what == "denial" else None)
            async def visa(self, event: Recorded[Booked]) -> None:
                raise SoldOut()

        office = await open_office(Strict)
        trip = await office.begin()

        await office.desk.book(trip, "denial")

        saga = await office.at_rest(trip, Status.COMPENSATED)
        assert saga.code == "sold-out"


async def _arrived(office: Office, trip: TripId) -> None:
    """Wait until an event has come for a saga."""
    while not await office.happened(trip, "EventArrived"):
        await asyncio.sleep(0.005)
