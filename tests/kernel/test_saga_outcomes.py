"""Steps whose outcome is unknown: it is found out what came of them, and one that never ran never will."""

import asyncio

import pytest

from craton.application import Saga, step
from craton.application.errors import Overtaken
from craton.application.sagas.state import Status, StepStatus
from tests.kernel.conftest import OpenOffice, StartApp
from tests.kernel.office import QUICK, Office, Passage
from tests.kernel.travel import BookingId, Desk, SoldOut, TripId, Weather, desk


class Cruise(Saga):
    """A cabin, of which the compensation needs to know the number, then a meal."""

    trip: TripId
    cabin: BookingId | None = None

    @step(retry=QUICK)
    async def reserve(self, desk: Desk) -> None:
        self.cabin = await desk.book(self.trip, "cabin")
        await desk.book(self.trip, "blanket")

    @reserve.undo(retry=QUICK)
    async def release(self, desk: Desk) -> None:
        assert self.cabin is not None
        await desk.cancel(self.trip, "cabin")

    @step(after=reserve, retry=QUICK)
    async def dine(self, desk: Desk) -> None:
        await desk.book(self.trip, "meal")


class TestSettling:
    async def test_when_the_attempts_end_the_saga_compensates(self, open_office: OpenOffice, weather: Weather) -> None:
        office = await open_office(Cruise)
        weather.cut["cabin"] = 3

        saga = await office.at_rest(await office.begin(), Status.COMPENSATED)

        assert (saga.code, saga.reason) == ("outcome-unknown", "reserve couldn't be done.")
        assert office.step(saga, "reserve").attempts == 3

    async def test_of_a_step_that_never_ran_nothing_is_undone(self, open_office: OpenOffice, weather: Weather) -> None:
        office = await open_office(Cruise)
        weather.cut["cabin"] = 3

        saga = await office.at_rest(await office.begin(), Status.COMPENSATED)

        assert office.step(saga, "reserve").status is StepStatus.NEVER_RAN
        assert weather.calls == []

    async def test_the_compensation_of_a_step_that_ran_sees_the_fields_that_it_would_have_set(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Cruise)
        weather.lost["blanket"] = 3

        trip = await office.begin()

        saga = await office.at_rest(trip, Status.COMPENSATED)
        assert saga.fields["cabin"] == f"cabin/{trip}"
        assert await office.booked(trip, "cabin") == {"cabin": 0}

    async def test_a_step_that_ran_in_part_is_undone(self, open_office: OpenOffice, weather: Weather) -> None:
        office = await open_office(Cruise)
        weather.cut["blanket"] = 3

        trip = await office.begin()

        await office.at_rest(trip, Status.COMPENSATED)
        assert await office.booked(trip, "cabin", "blanket") == {"cabin": 0, "blanket": 0}

    async def test_to_find_out_what_came_of_a_step_runs_nothing(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Cruise)
        weather.lost["blanket"] = 3

        await office.at_rest(await office.begin(), Status.COMPENSATED)

        assert weather.calls == ["cabin", "blanket", "undo cabin"]

    async def test_it_is_tried_again_until_it_is_found_out(self, open_office: OpenOffice, weather: Weather) -> None:
        office = await open_office(Cruise)
        weather.lost["blanket"] = 3 + 2

        trip = await office.begin()

        await office.at_rest(trip, Status.COMPENSATED)
        assert await office.happened(trip, "UndoTried") == ["reserve", "reserve"]
        assert await office.booked(trip, "cabin") == {"cabin": 0}

    async def test_what_can_not_be_found_out_leaves_the_saga_stuck(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Cruise)
        weather.lost["blanket"] = 3 + 3

        trip = await office.begin()

        saga = await office.at_rest(trip, Status.STUCK)
        assert saga.note == "reserve can't be undone"
        assert "undo cabin" not in weather.calls

    async def test_a_step_that_was_refused_though_the_answer_was_lost_never_ran(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Cruise)
        weather.plan("cabin", SoldOut())
        weather.lost["cabin"] = 3

        saga = await office.at_rest(await office.begin(), Status.COMPENSATED)

        assert office.step(saga, "reserve").status is StepStatus.NEVER_RAN
        assert weather.calls == ["cabin"]


class TestOvertaking:
    async def test_a_command_that_comes_after_its_step_was_called_off_is_refused(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Cruise)
        weather.cut["cabin"] = 3
        trip = await office.begin()
        await office.at_rest(trip, Status.COMPENSATED)

        with pytest.raises(Overtaken):
            await office.book_under(f"§{trip}/reserve/Desk.book#1", trip, "cabin")

        assert await office.booked(trip, "cabin") == {"cabin": 0}

    async def test_a_later_command_of_a_step_that_ran_in_part_is_called_off_too(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Cruise)
        weather.cut["blanket"] = 3
        trip = await office.begin()
        await office.at_rest(trip, Status.COMPENSATED)

        with pytest.raises(Overtaken):
            await office.book_under(f"§{trip}/reserve/Desk.book#2", trip, "blanket")

        assert await office.booked(trip, "blanket") == {"blanket": 0}

    async def test_a_command_that_another_process_is_deciding_when_its_step_is_called_off_has_no_effect(
        self, open_office: OpenOffice, weather: Weather, start: StartApp
    ) -> None:
        office, trip = await open_office(Cruise), TripId.new()
        slow, elsewhere = asyncio.Event(), Weather()
        elsewhere.plan("cabin", slow)
        other = Office(await start(desk(elsewhere)), elsewhere)
        late = asyncio.create_task(other.book_under(f"§{trip}/reserve/Desk.book#1", trip, "cabin"))
        await elsewhere.called("cabin")
        weather.cut["cabin"] = 3
        await office.begin(trip)
        await office.at_rest(trip, Status.COMPENSATED)

        slow.set()

        with pytest.raises(Overtaken):
            await late
        assert await office.booked(trip, "cabin") == {"cabin": 0}

    async def test_a_command_that_ran_answers_the_late_one_as_it_did(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Cruise)
        weather.lost["blanket"] = 3
        trip = await office.begin()
        await office.at_rest(trip, Status.COMPENSATED)

        assert await office.book_under(f"§{trip}/reserve/Desk.book#1", trip, "cabin") == f"cabin/{trip}"

        assert await office.booked(trip, "cabin") == {"cabin": 0}


class TestPorts:
    async def test_a_step_that_calls_a_port_can_not_be_settled_and_is_undone_as_if_it_had_run(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        class Letter(Saga):
            trip: TripId

            @step(retry=QUICK)
            async def post(self, post: Weather) -> None:
                await post.meet("post")

            @post.undo(retry=QUICK)
            async def recall(self, post: Weather) -> None:
                await post.meet("recall")

        office = await open_office(Letter, provides={Weather: weather})
        weather.plan("post", *[OSError("the line is dead")] * 3)

        saga = await office.at_rest(await office.begin(), Status.COMPENSATED)

        assert weather.calls == ["post", "post", "post", "recall"]
        assert office.step(saga, "post").status is StepStatus.UNDONE


class TestThePivot:
    async def test_a_pivot_whose_outcome_is_unknown_is_tried_until_it_is_known(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Passage)
        weather.cut["sail"] = 4
        weather.lost["sail"] = 2

        trip = await office.begin()

        saga = await office.at_rest(trip, Status.COMPLETED)
        assert office.step(saga, "sail").attempts == 4 + 2 + 1 > QUICK.attempts
        assert await office.booked(trip, "cabin", "sail") == {"cabin": 1, "sail": 1}

    async def test_a_pivot_that_is_refused_turns_the_saga_round(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Passage)
        weather.plan("sail", SoldOut())

        trip = await office.begin()

        saga = await office.at_rest(trip, Status.COMPENSATED)
        assert saga.code == "sold-out"
        assert await office.booked(trip, "cabin", "sail") == {"cabin": 0, "sail": 0}

    async def test_a_step_past_the_pivot_is_tried_beyond_its_attempts(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Passage)
        weather.cut["postcard"] = 5

        saga = await office.at_rest(await office.begin(), Status.COMPLETED)

        assert office.step(saga, "postcard").attempts == 6 > QUICK.attempts

    async def test_a_step_that_is_refused_past_the_pivot_leaves_the_saga_stuck(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Passage)
        weather.plan("postcard", SoldOut())

        trip = await office.begin()

        saga = await office.at_rest(trip, Status.STUCK)
        assert saga.note == "postcard was refused: There is none left."
        assert await office.booked(trip, "cabin", "sail") == {"cabin": 1, "sail": 1}

    async def test_what_runs_beside_a_refused_step_past_the_pivot_is_finished_first(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        class Arrival(Saga):
            trip: TripId

            @step(pivot=True)
            async def land(self, desk: Desk) -> None:
                await desk.book(self.trip, "landing")

            @step(after=land, retry=QUICK)
            async def luggage(self, desk: Desk) -> None:
                await desk.book(self.trip, "luggage")

            @step(after=land, retry=QUICK)
            async def taxi(self, desk: Desk) -> None:
                await desk.book(self.trip, "taxi")

        office = await open_office(Arrival)
        slow = asyncio.Event()
        weather.plan("luggage", slow)
        weather.plan("taxi", SoldOut())
        trip = await office.begin()
        await office.reached(trip, "taxi", StepStatus.REFUSED)
        assert (await office.saga(trip)).status is Status.RUNNING

        slow.set()

        saga = await office.at_rest(trip, Status.STUCK)
        assert office.step(saga, "luggage").status is StepStatus.DONE


async def test_a_journey_whose_hotel_stays_silent_cancels_its_flight(office: Office, weather: Weather) -> None:
    weather.cut["hotel"] = 3

    trip = await office.agency.plan("Ada")

    saga = await office.at_rest(trip, Status.COMPENSATED)
    assert office.step(saga, "hotel").status is StepStatus.NEVER_RAN
    assert await office.booked(trip, "flight", "hotel") == {"flight": 0, "hotel": 0}
