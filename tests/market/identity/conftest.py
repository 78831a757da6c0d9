"""The shop with nothing but people in it: identity needs none of the other modules."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from craton.testing import TurnedClock
from market.identity.module import identity
from tests.market.shop import Shop


@pytest.fixture
async def shop(store_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    """On each store."""
    shop = Shop(store_url, tmp_path, modules=[identity])
    try:
        async with shop:
            yield shop
    finally:
        await shop.drop()


@pytest.fixture
async def shop_sqlite(tmp_path: Path) -> AsyncIterator[Shop]:
    async with Shop("sqlite", tmp_path, modules=[identity]) as shop:
        yield shop


@pytest.fixture
async def timed_shop(tmp_path: Path, clock: TurnedClock) -> AsyncIterator[Shop]:
    """A shop whose time is the test's clock."""
    async with Shop("sqlite", tmp_path, clock=clock, modules=[identity]) as shop:
        yield shop
