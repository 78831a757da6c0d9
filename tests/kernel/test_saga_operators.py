"""What operators may do to a saga that does not get on: have it tried again, or take a step as done."""

import asyncio

import pytest

from craton.application import Saga, wait_for
from craton.application.sagas.refusals import SagaEnded, UnfitFields, UnknownStep
from craton.application.sagas.state import Status, StepStatus
from craton.domain import Recorded
from craton.runtime.sagas.control import SagaControl
from tests.kernel.conftest import OpenOffice
from tests.kernel.office import Crossing, Expedition, Office, Passage
from tests.kernel.travel import Booked, SoldOut, TripId, Weather


class TestRetry:
    async def test_what_was_refused_past_the_pivot_is_tried_again(self, refused: tuple[Office, TripId]) -> None:
        office, trip = refused

        await office.order(SagaControl.retry, trip, reason="they have some again")

        await office.at_rest(trip, Status.COMPLETED)
        assert await office.booked(trip, "stamp", "wave") == {"stamp": 1, "wave": 1}

    async def test_the_commands_before_the_refused_one_have_no_second_effect(
        self, refused: tuple[Office, TripId]
    ) -> None:
        office, trip = refused

        await office.order(SagaControl.retry, trip, reason="they have some again")

        saga = await office.at_rest(trip, Status.COMPLETED)
        assert await office.booked(trip, "paper") == {"paper": 1}
        assert saga.fields["letters"] == 1

    async def test_it_may_be_refused_again_and_tried_again(
        self, refused: tuple[Office, TripId], weather: Weather
    ) -> None:
        office, trip = refused
        weather.plan("stamp", SoldOut())
        await office.order(SagaControl.retry, trip, reason="perhaps")
        await office.at_rest(trip, Status.STUCK)

        await office.order(SagaControl.retry, trip, reason="for certain")

        await office.at_rest(trip, Status.COMPLETED)
        assert await office.booked(trip, "paper", "stamp") == {"paper": 1, "stamp": 1}

    async def test_an_answer_that_gets_lost_when_it_is_tried_again_has_no_second_effect(
        self, refused: tuple[Office, TripId], weather: Weather
    ) -> None:
        office, trip = refused
        weather.lost["stamp"] = 2

        await office.order(SagaControl.retry, trip, reason="they have some again")

        await office.at_rest(trip, Status.COMPLETED)
        assert await office.booked(trip, "paper", "stamp") == {"paper": 1, "stamp": 1}

    async def test_what_could_not_be_undone_is_tried_again(self, not_undone: tuple[Office, TripId]) -> None:
        office, trip = not_undone

        await office.order(SagaControl.retry, trip, reason="the left is open again")

        saga = await office.at_rest(trip, Status.COMPENSATED)
        booked = await office.booked(trip, "base", "left", "right", "top")
        assert set(booked.values()) == {0}
        assert saga.note == ""

    async def test_it_is_recorded_with_the_operator_and_the_reason(self, refused: tuple[Office, TripId]) -> None:
        office, trip = refused

        await office.order(SagaControl.retry, trip, reason="they have some again")

        actor, data = await office.recorded(trip, "SagaRetried")
        assert (actor, data["reason"]) == ("olga", "they have some again")

    async def test_only_what_is_stuck_is_tried_again(self, open_office: OpenOffice, weather: Weather) -> None:
        office = await open_office(Passage)
        weather.plan("cabin", asyncio.Event())
        trip = await office.begin()

        with pytest.raises(SagaEnded, match=r"The saga is running\."):
            await office.order(SagaControl.retry, trip, reason="why not")


class TestSkip:
    async def test_a_refused_step_counts_as_done(self, refused: tuple[Office, TripId]) -> None:
        office, trip = refused

        await office.order(SagaControl.skip, trip, step="write", reason="she phoned")

        saga = await office.at_rest(trip, Status.COMPLETED)
        assert office.step(saga, "write").status is StepStatus.SKIPPED
        assert await office.booked(trip, "stamp", "wave") == {"stamp": 0, "wave": 1}

    async def test_it_may_give_values_for_fields(self, refused: tuple[Office, TripId]) -> None:
        office, trip = refused

        await office.order(SagaControl.skip, trip, step="write", reason="she wrote", value={"letters": 7})

        saga = await office.at_rest(trip, Status.COMPLETED)
        assert saga.fields["letters"] == 7

    async def test_a_value_that_does_not_fit_is_refused_and_changes_nothing(
        self, refused: tuple[Office, TripId]
    ) -> None:
        office, trip = refused
        before = await office.saga(trip)

        for value in ({"letters": "many"}, {"letters": None}, {"stamps": 1}, {"trip": "nowhere"}, {"letters": 1.5}):
            with pytest.raises(UnfitFields, match=r"can.t hold these values"):
                await office.order(SagaControl.skip, trip, step="write", reason="she wrote", value=value)

        assert await office.saga(trip) == before

    async def test_a_compensation_that_failed_counts_as_done(self, not_undone: tuple[Office, TripId]) -> None:
        office, trip = not_undone
        await office.order(SagaControl.skip, trip, step="left", reason="it is torn down")
        assert (await office.at_rest(trip, Status.STUCK)).note == "base can't be undone"

        await office.order(SagaControl.skip, trip, step="base", reason="it is torn down too")

        saga = await office.at_rest(trip, Status.COMPENSATED)
        assert {office.step(saga, name).status for name in ("base", "left")} == {StepStatus.UNDONE}
        assert await office.booked(trip, "base", "left") == {"base": 1, "left": 1}

    async def test_a_step_that_waits_counts_as_done_without_an_event(self, open_office: OpenOffice) -> None:
        class Waiting(Saga):
            trip: TripId
            what: str = ""

            @wait_for(lambda event: None)
            async def visa(self, event: Recorded[Booked]) -> None: ...

        office = await open_office(Waiting)
        trip = await office.begin()

        await office.order(SagaControl.skip, trip, step="visa", reason="she is a citizen", value={"what": "passport"})

        saga = await office.at_rest(trip, Status.COMPLETED)
        assert saga.fields["what"] == "passport"

    async def test_a_skipped_step_is_undone_with_the_others(self, open_office: OpenOffice, weather: Weather) -> None:
        office = await open_office(Crossing)
        weather.cut["ferry"] = 1
        weather.plan("hike", SoldOut())
        trip = await office.begin()
        await office.attempted(trip, "ferry", done=1)

        await office.order(SagaControl.skip, trip, step="ferry", reason="there is a bridge")

        await office.at_rest(trip, Status.COMPENSATED)
        assert await office.happened(trip, "UndoBegun") == ["ferry", "train"]

    async def test_it_is_recorded_with_the_operator_and_the_reason(self, refused: tuple[Office, TripId]) -> None:
        office, trip = refused

        await office.order(SagaControl.skip, trip, step="write", reason="she wrote", value={"letters": 7})

        actor, data = await office.recorded(trip, "StepSkipped")
        assert (actor, data["step"], data["reason"]) == ("olga", "write", "she wrote")
        assert data["changes"] == {"letters": 7}

    async def test_once_compensating_a_refused_step_can_not_be_skipped(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Expedition)
        weather.plan("top", SoldOut())
        weather.plan("undo base", SoldOut())
        trip = await office.begin()
        await office.at_rest(trip, Status.STUCK)

        with pytest.raises(UnknownStep):
            await office.order(SagaControl.skip, trip, step="top", reason="why not")

        assert (await office.saga(trip)).status is Status.STUCK

    async def test_a_step_that_is_done_or_has_not_begun_or_is_none_is_refused(
        self, refused: tuple[Office, TripId]
    ) -> None:
        office, trip = refused

        for name in ("leave", "wave", "nothing", ""):
            with pytest.raises(UnknownStep, match="is no step that could be skipped now"):
                await office.order(SagaControl.skip, trip, step=name, reason="why not")
