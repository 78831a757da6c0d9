"""A travel agency: the sagas that the kernel is tested with, and the desks whose services they book."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from craton.application import (
    Api,
    Module,
    Policy,
    Repository,
    Retry,
    Saga,
    Sagas,
    Unavailable,
    command,
    query,
    seconds,
    step,
    wait_for,
)
from craton.domain import Aggregate, Conflict, Event, Id, Recorded

QUICK = Retry(attempts=3, pause=timedelta(milliseconds=10))


class TripId(Id):
    pass


class BookingId(Id):
    pattern = r"[a-z0-9/-]{1,80}"


# --- the desk: what is booked ----------------------------------------------------------------------------------------


class Booked(Event):
    trip: TripId
    what: str


class Cancelled(Event):
    trip: TripId
    what: str


class SoldOut(Conflict):
    """There is none left."""


class Booking(Aggregate[BookingId]):
    bookings: int = 0

    def apply(self, event: Booked | Cancelled) -> None:
        match event:
            case Booked():
                self.bookings += 1
            case Cancelled():
                self.bookings -= 1


class Weather:
    """What happens to the next calls: a name, as `flight` or `undo flight`, and what to do for each in turn.

    The desk raises what is an exception, waits for what is an `asyncio.Event`, and calls what can be called.
    """

    def __init__(self) -> None:
        self.plans: dict[str, list[Any]] = {}
        self.calls: list[str] = []
        self.cut: Counter[str] = Counter()
        """How many of the next calls don't get through."""
        self.lost: Counter[str] = Counter()
        """How many of the next calls run, though their answers get lost."""

    def plan(self, name: str, *events: Any) -> None:
        self.plans[name] = list(events)

    async def meet(self, name: str) -> None:
        """Before the use case decides."""
        self.calls.append(name)
        plans = self.plans.get(name)
        event = plans.pop(0) if plans else None
        if isinstance(event, Exception):
            raise event
        if isinstance(event, asyncio.Event):
            await event.wait()
        elif callable(event):
            await event()

    async def called(self, name: str, times: int = 1) -> None:
        """Wait until something was called so often."""
        while self.calls.count(name) < times:
            await asyncio.sleep(0.002)


class Desk(Api):
    @command
    async def book(self, trip: TripId, what: str) -> BookingId:
        """Book something for a trip."""

    @command
    async def cancel(self, trip: TripId, what: str) -> None:
        """Cancel a booking."""

    @query
    async def bookings(self, trip: TripId, what: str) -> int:
        """How many there are."""


class DeskService(Desk):
    def __init__(self, bookings: Repository[Booking], weather: Weather) -> None:
        self._bookings = bookings
        self._weather = weather

    async def book(self, trip: TripId, what: str) -> BookingId:
        await self._weather.meet(what)
        booking = await self._find(trip, what)
        booking.record(Booked(trip=trip, what=what))
        return booking.id

    async def cancel(self, trip: TripId, what: str) -> None:
        await self._weather.meet(f"undo {what}")
        (await self._find(trip, what)).record(Cancelled(trip=trip, what=what))

    async def bookings(self, trip: TripId, what: str) -> int:
        return (await self._find(trip, what, add=False)).bookings

    async def _find(self, trip: TripId, what: str, *, add: bool = True) -> Booking:
        id = BookingId(f"{what}/{trip}")
        booking = await self._bookings.find(id)
        if booking is None:
            booking = Booking(id)
            if add:
                self._bookings.add(booking)
        return booking


def desk(weather: Weather, policies: Sequence[type[Policy]] = ()) -> Module:
    return Module("desk", api=Desk, service=DeskService, policies=policies, provides={Weather: weather})


# --- the agency: trips -----------------------------------------------------------------------------------------------


class TripPlanned(Event):
    customer: str


class TripConfirmed(Event):
    pass


class Trip(Aggregate[TripId]):
    confirmed: bool = False

    def apply(self, event: TripPlanned | TripConfirmed) -> None:
        if isinstance(event, TripConfirmed):
            self.confirmed = True


class Agency(Api):
    @command
    async def plan(self, customer: str) -> TripId:
        """Plan a trip, and begin to book it."""

    @command
    async def await_visa(self, customer: str) -> TripId:
        """Plan a trip that waits for something."""

    @command
    async def confirm(self, trip: TripId) -> None:
        """Say that everything is booked."""

    @query
    async def confirmed(self, trip: TripId) -> bool:
        """Whether it is."""


class Journey(Saga):
    """Flight and hotel side by side, then a guide, then there is no way back, then a letter."""

    trip: TripId
    flight_booking: BookingId | None = None
    guides: int = 0

    @step(retry=QUICK)
    async def flight(self, desk: Desk) -> None:
        self.flight_booking = await desk.book(self.trip, "flight")

    @flight.undo(retry=QUICK)
    async def cancel_flight(self, desk: Desk) -> None:
        assert self.flight_booking is not None
        await desk.cancel(self.trip, "flight")

    @step(retry=QUICK, timeout=seconds(2))
    async def hotel(self, desk: Desk) -> None:
        await desk.book(self.trip, "hotel")

    @hotel.undo(retry=QUICK)
    async def cancel_hotel(self, desk: Desk) -> None:
        await desk.cancel(self.trip, "hotel")

    @step(after=(flight, hotel), retry=QUICK)
    async def guide(self, desk: Desk) -> None:
        await desk.book(self.trip, "guide")
        await desk.book(self.trip, "map")
        self.guides += 1

    @guide.undo(retry=QUICK)
    async def cancel_guide(self, desk: Desk) -> None:
        await desk.cancel(self.trip, "guide")

    @step(after=guide, pivot=True, retry=QUICK)
    async def confirm(self, agency: Agency) -> None:
        await agency.confirm(self.trip)

    @step(after=confirm, retry=QUICK)
    async def letter(self, desk: Desk) -> None:
        await desk.book(self.trip, "letter")


class Visa(Saga):
    """Waits until a visa is booked at the desk."""

    timeout: ClassVar[timedelta | None] = seconds(60)
    trip: TripId
    what: str = ""

    @step(retry=QUICK)
    async def flight(self, desk: Desk) -> None:
        await desk.book(self.trip, "flight")

    @flight.undo(retry=QUICK)
    async def cancel_flight(self, desk: Desk) -> None:
        await desk.cancel(self.trip, "flight")

    @wait_for(lambda event: event.data.trip if event.data.what == "visa" else None, after=flight, timeout=seconds(30))
    async def visa(self, event: Recorded[Booked]) -> None:
        self.what = event.data.what


class AgencyService(Agency):
    def __init__(self, trips: Repository[Trip], journeys: Sagas[Journey], visas: Sagas[Visa]) -> None:
        self._trips = trips
        self._journeys = journeys
        self._visas = visas

    async def plan(self, customer: str) -> TripId:
        trip = Trip.begin(TripId.new(), TripPlanned(customer=customer))
        self._trips.add(trip)
        self._journeys.start(Journey(trip=trip.id), id=trip.id)
        return trip.id

    async def await_visa(self, customer: str) -> TripId:
        trip = Trip.begin(TripId.new(), TripPlanned(customer=customer))
        self._trips.add(trip)
        self._visas.start(Visa(trip=trip.id), id=trip.id)
        return trip.id

    async def confirm(self, trip: TripId) -> None:
        (await self._trips.get(trip)).record(TripConfirmed())

    async def confirmed(self, trip: TripId) -> bool:
        return (await self._trips.get(trip)).confirmed


class Souvenirs(Policy):
    """Whenever a trip is confirmed, book a souvenir."""

    retry = QUICK

    async def react(self, event: Recorded[TripConfirmed], desk: Desk) -> None:
        await desk.book(TripId(event.subject), "souvenir")


def agency(**options: Any) -> Module:
    return Module("agency", api=Agency, service=AgencyService, sagas=[Journey, Visa], policies=[Souvenirs], **options)


def unavailable(*, ran: bool = False) -> Unavailable:
    return Unavailable("The desk is closed.", maybe_executed=ran)
