"""The market on data that an older program wrote, on each store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.crash.databases import run_script
from tests.upgrade.market_of_layout_1 import OldMarket, postgres_script, unpack_sqlite


@pytest.fixture(params=["sqlite", "postgres"])
async def closed_market(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OldMarket]:
    """The market on a copy of the old data, not started yet."""
    if request.param == "sqlite":
        unpack_sqlite(tmp_path)
        market = OldMarket("sqlite", tmp_path)
    else:
        market = OldMarket(request.getfixturevalue("postgres_url"), tmp_path)
        run_script(market.url, postgres_script())
    try:
        yield market
    finally:
        await market.drop()


@pytest.fixture
async def market(closed_market: OldMarket) -> AsyncIterator[OldMarket]:
    """The market, started on the old data. Its read models are built."""
    async with closed_market:
        await closed_market.built()
        yield closed_market
