"""Apps on the stores of one place."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from craton.application import Module, Saga
from craton.application.sagas.state import Status
from craton.runtime import App
from tests.conftest import Place
from tests.kernel.bank import Bank, Gate, bank
from tests.kernel.office import Expedition, Farewell, Office, opened, tours
from tests.kernel.travel import SoldOut, TripId, Weather, agency


class StartApp(Protocol):
    async def __call__(self, *modules: Module, subscriptions: bool = False, **options: Any) -> App:
        """Run an app until the test ends; each is a client of its own."""


class OpenOffice(Protocol):
    async def __call__(
        self, kind: type[Saga], *, provides: dict[type[Any], Any] | None = None, **options: Any
    ) -> Office:
        """Run an app with sagas of this kind until the test ends."""


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 5, 17, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def forward(self, **duration: float) -> datetime:
        self.time += timedelta(**duration)
        return self.time


@pytest.fixture
async def start(place: Place) -> AsyncIterator[StartApp]:
    async with AsyncExitStack() as stack:

        async def start(*modules: Module, subscriptions: bool = False, **options: Any) -> App:
            app = App("test", modules=modules or [bank()], **options)
            return await stack.enter_async_context(app.run(place, subscriptions=subscriptions))

        yield start


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def app(start: StartApp, gate: Gate, clock: Clock) -> App:
    """The bank, with nothing going on in the background."""
    return await start(bank(gate), clock=clock)


@pytest.fixture
async def other_app(start: StartApp, app: App, clock: Clock) -> App:
    """The bank in another process, on the same store."""
    return await start(bank(), clock=clock)


@pytest.fixture
def api(app: App) -> Bank:
    return app.api(Bank)


@pytest.fixture
def other(other_app: App) -> Bank:
    return other_app.api(Bank)


@pytest.fixture
def weather() -> Weather:
    return Weather()


@pytest.fixture
async def office(place: Place, weather: Weather) -> AsyncIterator[Office]:
    """The travel agency, with all that goes on in the background."""
    async with opened(place, weather, agency()) as office:
        yield office


@pytest.fixture
async def open_office(place: Place, weather: Weather) -> AsyncIterator[OpenOffice]:
    async with AsyncExitStack() as stack:

        async def open_office(
            kind: type[Saga], *, provides: dict[type[Any], Any] | None = None, **options: Any
        ) -> Office:
            return await stack.enter_async_context(opened(place, weather, tours(kind, provides=provides), **options))

        yield open_office


@pytest.fixture
async def refused(open_office: OpenOffice, weather: Weather) -> tuple[Office, TripId]:
    """A saga that is stuck past its pivot: there are no stamps."""
    office = await open_office(Farewell)
    weather.plan("stamp", SoldOut())
    trip = await office.begin()
    await office.at_rest(trip, Status.STUCK)
    return office, trip


@pytest.fixture
async def not_undone(open_office: OpenOffice, weather: Weather) -> tuple[Office, TripId]:
    """A saga that is stuck because two of its steps can't be undone."""
    office = await open_office(Expedition)
    weather.plan("top", SoldOut())
    weather.plan("undo left", SoldOut())
    weather.plan("undo base", SoldOut())
    trip = await office.begin()
    await office.at_rest(trip, Status.STUCK)
    return office, trip
