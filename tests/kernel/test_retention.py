"""What is only of use for a time is forgotten: answers under keys, and sagas that ended long ago."""

from collections.abc import AsyncIterator

import pytest

from craton.application.sagas.state import Status
from craton.testing import RunningApp, run
from tests.kernel.travel import Agency, Desk, TripId, Weather, agency, desk


@pytest.fixture
async def office(weather: Weather) -> AsyncIterator[RunningApp]:
    """The travel agency, in memory."""
    async with run(desk(weather), agency()) as app:
        yield app


class TestAnswersUnderKeys:
    async def test_that_are_young_are_kept(self, office: RunningApp) -> None:
        trip, ann = TripId.new(), office.as_("ann").once("k").api(Desk)
        await ann.book(trip, "flight")
        office.clock.turn(days=29)

        await office.app.running["desk"].forgetting.forget_results()
        await ann.book(trip, "flight")

        assert await ann.bookings(trip, "flight") == 1

    async def test_that_are_too_old_are_forgotten_so_that_the_command_runs_again(
        self, office: RunningApp, weather: Weather
    ) -> None:
        trip, ann = TripId.new(), office.as_("ann").once("k").api(Desk)
        await ann.book(trip, "flight")
        office.clock.turn(days=31)

        await office.app.running["desk"].forgetting.forget_results()
        await ann.book(trip, "flight")

        assert weather.calls == ["flight", "flight"]


class TestEndedSagas:
    async def test_that_ended_lately_are_listed(self, office: RunningApp) -> None:
        await office.api(Agency).plan("Ada")
        await office.settled()
        office.clock.turn(days=89)

        await office.app.running["agency"].forgetting.forget_sagas()

        assert [saga.status for saga in (await office.operations.sagas()).items] == [Status.COMPLETED]

    async def test_that_ended_long_ago_are_not_listed_but_found_by_their_id(self, office: RunningApp) -> None:
        await office.api(Agency).plan("Ada")
        await office.settled()
        (listed,) = (await office.operations.sagas()).items
        office.clock.turn(days=91)

        await office.app.running["agency"].forgetting.forget_sagas()

        assert (await office.operations.sagas()).items == ()
        assert (await office.operations.saga(listed.id)).status is Status.COMPLETED

    async def test_that_are_forgotten_are_nothing_that_an_audit_complains_about(self, office: RunningApp) -> None:
        await office.api(Agency).plan("Ada")
        await office.settled()
        office.clock.turn(days=91)
        await office.app.running["agency"].forgetting.forget_sagas()

        assert [problem async for problem in office.app.running["agency"].verify()] == []
