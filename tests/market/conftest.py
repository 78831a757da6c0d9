"""The bank, the market and the shop of a test, on each store."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from craton.testing import RunningApp, TurnedClock, run
from market.identity.ports import PasswordHasher
from market.modules import MODULES
from tests.market.bank import Bank, BankPlace
from tests.market.place import Place
from tests.market.shop import QuickArgon2, Shop

QUICK_ADAPTERS: Final[dict[Any, Any]] = {PasswordHasher: QuickArgon2()}


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest) -> str:
    return "sqlite" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def place(store_url: str, tmp_path: Path) -> AsyncIterator[BankPlace]:
    place = BankPlace(store_url, tmp_path)
    yield place
    await place.drop()


@pytest.fixture
async def bank(place: BankPlace) -> AsyncIterator[Bank]:
    async with place.open() as bank:
        yield bank


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
async def timed_bank(place: BankPlace, clock: TurnedClock) -> AsyncIterator[Bank]:
    """A bank whose time is the test's clock."""
    async with place.open(clock) as bank:
        yield bank


@pytest.fixture
async def shop(store_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    """The whole market, on each store."""
    shop = Shop(store_url, tmp_path)
    try:
        async with shop:
            yield shop
    finally:
        await shop.drop()


@pytest.fixture
async def shop_sqlite(tmp_path: Path) -> AsyncIterator[Shop]:
    """The whole market on SQLite, for what has nothing to do with stores."""
    async with Shop("sqlite", tmp_path) as shop:
        yield shop


@pytest.fixture
async def market(store_url: str, tmp_path: Path) -> AsyncIterator[RunningApp]:
    """The whole market in process, without a socket, on each store."""
    place = Place(store_url, tmp_path, MODULES)
    try:
        async with place.run(replace=QUICK_ADAPTERS) as running:
            yield running
    finally:
        await place.drop()


@pytest.fixture
async def market_in_memory() -> AsyncIterator[RunningApp]:
    """The whole market in process, for what has nothing to do with stores."""
    async with run(*MODULES, replace=QUICK_ADAPTERS) as running:
        yield running
