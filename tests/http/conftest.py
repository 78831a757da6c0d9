"""The market behind a real socket."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from craton.adapters.http import asgi, listen, serve
from craton.runtime import App
from tests.http.client import Client
from tests.market.bank import Bank, BankPlace
from tests.market.guarded import GuardedPlace


@asynccontextmanager
async def served(
    app: App, origins: Sequence[str] = (), *, limited: bool = False, application: ASGIApp | None = None
) -> AsyncIterator[Client]:
    """Serve a running app on a free port; at the end the server is told to stop, as an operator would."""
    listening = listen("127.0.0.1", 0)
    client = Client("127.0.0.1", listening.getsockname()[1])
    with listening:
        serving = asyncio.create_task(serve(application or asgi(app, origins=origins, limited=limited), listening))
        try:
            await client.get("/health/live")
            yield client
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.raise_signal(signal.SIGTERM)
            await serving


@pytest.fixture
async def place(tmp_path: Path) -> BankPlace:
    return GuardedPlace("sqlite", tmp_path)


@pytest.fixture
async def bank(place: BankPlace) -> AsyncIterator[Bank]:
    async with place.open() as bank:
        yield bank


@pytest.fixture
async def client(bank: Bank) -> AsyncIterator[Client]:
    async with served(bank.app) as client:
        yield client


@pytest.fixture(params=["sqlite", "postgres"])
async def client_of_each_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Client]:
    url = "sqlite" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    place = GuardedPlace(url, tmp_path)
    try:
        async with place.open() as bank, served(bank.app) as client:
            yield client
    finally:
        await place.drop()
