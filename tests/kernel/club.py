"""A travellers' club: the policies that the kernel is tested with, and what their tests ask of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from craton.application import Api, Module, Policy, Repository, Retry, command, query
from craton.domain import Aggregate, Event, Recorded
from craton.ports import ParkedEvent
from craton.runtime import App
from tests.conftest import Place
from tests.kernel.office import Line, Office
from tests.kernel.travel import Booked, Cancelled, TripId, Weather, desk
from tests.parking import ask

QUICK = Retry(attempts=3, pause=Retry().pause / 20)


class Joined(Event):
    pass


class Noted(Event):
    text: str


class Member(Aggregate[TripId]):
    """A traveller, as the club knows them: one for each trip."""

    notes: tuple[str, ...] = ()

    def apply(self, event: Joined | Noted) -> None:
        if isinstance(event, Noted):
            self.notes = (*self.notes, event.text)


class Club(Api):
    @command
    async def join(self, trip: TripId) -> None:
        """Become a member."""

    @command
    async def note(self, trip: TripId, text: str) -> None:
        """Note something about a member."""

    @query
    async def notes(self, trip: TripId) -> tuple[str, ...]:
        """All that was noted, in order."""


class ClubService(Club):
    def __init__(self, members: Repository[Member], weather: Weather) -> None:
        self._members = members
        self._weather = weather

    async def join(self, trip: TripId) -> None:
        (await self._members.find_or_add(trip)).record(Joined())

    async def note(self, trip: TripId, text: str) -> None:
        await self._weather.meet(text)
        (await self._members.find_or_add(trip)).record(Noted(text=text))

    async def notes(self, trip: TripId) -> tuple[str, ...]:
        member = await self._members.find(trip)
        return () if member is None else member.notes


class Diary(Policy):
    """Whenever something is booked or cancelled, note it; a trip's notes in order."""

    retry = QUICK

    def key(self, event: Recorded[Booked | Cancelled]) -> str:
        return str(event.data.trip)

    async def react(self, event: Recorded[Booked | Cancelled], club: Club) -> None:
        await club.note(event.data.trip, f"{type(event.data).__name__.lower()} {event.data.what}")


class Greeting(Policy):
    """Whenever somebody joins or books a flight, greet them twice."""

    retry = QUICK

    async def react(self, event: Recorded[Joined | Booked], club: Club) -> None:
        trip = TripId(event.subject) if isinstance(event.data, Joined) else event.data.trip
        await club.note(trip, f"welcome, {type(event.data).__name__.lower()}")
        await club.note(trip, "good day")


DIARY: Final = "club.diary@desk"
"""What the diary's progress is kept under."""


class ClubHouse(Office):
    """An app with a club, and what its tests ask of it."""

    def __init__(self, app: App, weather: Weather) -> None:
        super().__init__(app, weather)
        self.club = app.api(Club)

    async def noted(self, trip: TripId, *texts: str) -> None:
        """Wait until so much is noted; it must be this, in this order."""
        while len(await self.club.notes(trip)) < len(texts):
            await asyncio.sleep(0.005)
        assert await self.club.notes(trip) == texts

    async def parked(self, count: int) -> list[ParkedEvent]:
        """Wait until so many events are parked."""
        while len(entries := await self.app.running["club"].store.parked(DIARY)) != count:
            await asyncio.sleep(0.005)
        return list(entries)

    async def ask(self, request: Any) -> None:
        """Say what is to become of the first parked event."""
        store = self.app.running["club"].store
        assert await ask(store, DIARY, (await store.parked(DIARY))[0].position, request)


@asynccontextmanager
async def club_house(
    place: Place, weather: Weather, *policies: type[Policy], retired: Sequence[str] = ()
) -> AsyncIterator[ClubHouse]:
    club = Module(
        "club", api=Club, service=ClubService, policies=policies, retired=retired, provides={Weather: weather}
    )
    app = Line("travel", modules=[desk(Weather()), club], copied_calls=True)
    async with app.run(place, subscriptions=True):
        yield ClubHouse(app, weather)
