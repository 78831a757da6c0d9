"""What operators may order to end a saga: to turn it round, or to leave it as it stands; and when."""

import asyncio

import pytest

from craton.application import Saga, wait_for
from craton.application.sagas.refusals import PastPivot, SagaEnded, SagaNotFound
from craton.application.sagas.state import Status
from craton.domain import Recorded
from craton.runtime.sagas.control import SagaControl
from tests.kernel.conftest import OpenOffice
from tests.kernel.office import Crossing, Expedition, Office, Passage
from tests.kernel.travel import Booked, SoldOut, TripId, Weather


class TestCompensate:
    async def test_a_running_saga_turns_round(self, open_office: OpenOffice, weather: Weather) -> None:
        office = await open_office(Crossing)
        weather.cut["ferry"] = 1
        trip = await office.begin()
        await office.attempted(trip, "ferry", done=1)

        await office.order(SagaControl.compensate, trip, reason="there is a storm")

        saga = await office.at_rest(trip, Status.COMPENSATED)
        assert (saga.code, saga.reason) == ("ordered", "there is a storm")
        assert await office.booked(trip, "train", "ferry") == {"train": 0, "ferry": 0}

    async def test_it_is_recorded_with_the_operator_and_the_reason(self, open_office: OpenOffice) -> None:
        class Waiting(Saga):
            trip: TripId

            @wait_for(lambda event: None)
            async def visa(self, event: Recorded[Booked]) -> None: ...

        office = await open_office(Waiting)
        trip = await office.begin()

        await office.order(SagaControl.compensate, trip, reason="she stays")

        actor, data = await office.recorded(trip, "CompensationBegun")
        assert (actor, data["reason"]) == ("olga", "she stays")
        assert (await office.at_rest(trip, Status.COMPENSATED)).reason == "she stays"

    async def test_a_running_saga_turns_round_at_once_though_a_step_of_it_hangs(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Expedition)
        weather.plan("top", asyncio.Event())
        trip = await office.begin()
        await weather.called("top")

        await office.order(SagaControl.compensate, trip, reason="there is a storm")

        await office.at_rest(trip, Status.COMPENSATED)

    async def test_past_the_pivot_it_is_refused(self, refused: tuple[Office, TripId]) -> None:
        office, trip = refused

        with pytest.raises(PastPivot):
            await office.order(SagaControl.compensate, trip, reason="why not")

    async def test_while_the_pivot_is_under_way_it_is_refused(self, open_office: OpenOffice, weather: Weather) -> None:
        office = await open_office(Passage)
        weather.plan("sail", asyncio.Event())
        trip = await office.begin()
        await weather.called("sail")

        with pytest.raises(PastPivot):
            await office.order(SagaControl.compensate, trip, reason="why not")

    async def test_a_saga_that_compensates_is_not_turned_round_again(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Expedition)
        weather.plan("left", SoldOut())
        weather.plan("undo base", asyncio.Event())
        trip = await office.begin()
        await weather.called("undo base")

        with pytest.raises(SagaEnded, match=r"The saga is compensating\."):
            await office.order(SagaControl.compensate, trip, reason="why not")


class TestResolve:
    async def test_a_saga_that_is_stuck_past_its_pivot_ends_as_it_stands(self, refused: tuple[Office, TripId]) -> None:
        await _ends_as_it_stands(*refused)

    async def test_a_saga_that_can_not_be_undone_ends_as_it_stands(self, not_undone: tuple[Office, TripId]) -> None:
        await _ends_as_it_stands(*not_undone)

    async def test_it_is_recorded_with_the_operator_and_the_reason(self, refused: tuple[Office, TripId]) -> None:
        office, trip = refused

        await office.order(SagaControl.resolve, trip, note="she was paid")

        actor, data = await office.recorded(trip, "SagaResolved")
        assert (actor, data["note"]) == ("olga", "she was paid")

    async def test_what_is_under_way_then_changes_nothing(self, open_office: OpenOffice, weather: Weather) -> None:
        office, slow = await open_office(Expedition), asyncio.Event()
        weather.plan("base", slow)
        trip = await office.begin()
        await weather.called("base")
        await office.order(SagaControl.resolve, trip, note="called off by hand")
        before = await office.saga(trip)

        slow.set()
        while await office.booked(trip, "base") == {"base": 0}:
            await asyncio.sleep(0.005)

        assert await office.saga(trip) == before
        assert weather.calls == ["base"]


async def _ends_as_it_stands(office: Office, trip: TripId) -> None:
    before = await office.saga(trip)

    await office.order(SagaControl.resolve, trip, note="she was paid")

    saga = await office.at_rest(trip, Status.RESOLVED)
    assert (saga.note, saga.steps) == ("she was paid", before.steps)
    assert saga.ended_at is not None


async def _orders_are_refused(office: Office, trip: TripId, *refusals: type[Exception]) -> None:
    for verb, arguments in (
        (SagaControl.retry, {"reason": "why"}),
        (SagaControl.skip, {"reason": "why", "step": "cabin"}),
        (SagaControl.compensate, {"reason": "why"}),
        (SagaControl.resolve, {"note": "why"}),
    ):
        with pytest.raises(refusals):
            await office.order(verb, trip, **arguments)


class TestEnded:
    @pytest.mark.parametrize("status", [Status.COMPLETED, Status.COMPENSATED, Status.RESOLVED])
    async def test_a_saga_that_has_ended_takes_no_orders(
        self, open_office: OpenOffice, weather: Weather, status: Status
    ) -> None:
        office = await open_office(Passage)
        if status is not Status.COMPLETED:
            weather.plan("cabin", SoldOut() if status is Status.COMPENSATED else asyncio.Event())
        trip = await office.begin()
        if status is Status.RESOLVED:
            await office.order(SagaControl.resolve, trip, note="by hand")
        ended = await office.at_rest(trip, status)

        await _orders_are_refused(office, trip, SagaEnded, PastPivot)

        assert (await office.saga(trip)).version == ended.version

    async def test_an_unknown_saga_is_not_found(self, open_office: OpenOffice) -> None:
        office = await open_office(Passage)

        await _orders_are_refused(office, TripId.new(), SagaNotFound)
