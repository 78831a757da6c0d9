"""While two versions of a saga run on one store, each version drives its own."""

import asyncio
from contextlib import AsyncExitStack

from craton.application import Saga, step
from craton.application.sagas.state import Status
from tests.conftest import Place
from tests.kernel.office import opened, tours
from tests.kernel.travel import Desk, TripId, Weather


def older() -> type[Saga]:
    class Excursion(Saga):
        trip: TripId

        @step
        async def boat(self, desk: Desk) -> None:
            await desk.book(self.trip, "boat")

    return Excursion


def newer() -> type[Saga]:
    class Excursion(Saga):
        trip: TripId

        @step
        async def boat(self, desk: Desk) -> None:
            await desk.book(self.trip, "boat")

        @step(after=boat)
        async def bus(self, desk: Desk) -> None:
            await desk.book(self.trip, "bus")

    return Excursion


async def test_each_version_drives_its_own(place: Place) -> None:
    async with AsyncExitStack() as stack:
        before = await stack.enter_async_context(opened(place, Weather(), tours(older())))
        after = await stack.enter_async_context(opened(place, Weather(), tours(newer())))
        for _ in range(2):  # whichever of them owns the subscription
            by_older, by_newer = await before.begin(), await after.begin()

            async with asyncio.timeout(60):
                await before.at_rest(by_older, Status.COMPLETED)
                await after.at_rest(by_newer, Status.COMPLETED)
        assert await before.booked(by_older, "boat", "bus") == {"boat": 1, "bus": 0}
        assert await after.booked(by_newer, "boat", "bus") == {"boat": 1, "bus": 1}
