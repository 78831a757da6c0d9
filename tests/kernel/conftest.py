"""Apps on the stores of one place."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from craton.application import Module
from craton.runtime import App
from tests.conftest import Place
from tests.kernel.bank import Bank, Gate, bank


class StartApp(Protocol):
    async def __call__(self, *modules: Module, subscriptions: bool = False, **options: Any) -> App:
        """Run an app until the test ends; each is a client of its own."""


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


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what comes about in the background and announces itself to nobody."""
    while not await holds():
        await asyncio.sleep(0.005)
