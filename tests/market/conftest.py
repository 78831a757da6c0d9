"""The bank of a test, on each store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.market.world import Bank, Clock, Place, require_postgres


@pytest.fixture(scope="session")
def reachable_postgres() -> str:
    return require_postgres()


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest) -> str:
    return "sqlite" if request.param == "sqlite" else str(request.getfixturevalue("reachable_postgres"))


@pytest.fixture
async def place(store_url: str, tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(store_url, tmp_path)
    yield place
    await place.drop()


@pytest.fixture
async def bank(place: Place) -> AsyncIterator[Bank]:
    async with place.open() as bank:
        yield bank


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def timed_bank(place: Place, clock: Clock) -> AsyncIterator[Bank]:
    """A bank whose time is the test's clock."""
    async with place.open(clock) as bank:
        yield bank
