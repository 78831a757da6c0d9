"""The warehouse: the market in process, of which the catalog and the inventory are asked."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from craton.testing import RunningApp, run
from market.identity.ports import PasswordHasher
from market.modules import MODULES
from tests.market.place import Place
from tests.market.shop import QuickArgon2

ADAPTERS: Final[dict[Any, Any]] = {PasswordHasher: QuickArgon2()}


@pytest.fixture
async def warehouse(store_url: str, tmp_path: Path) -> AsyncIterator[RunningApp]:
    """On each store."""
    place = Place(store_url, tmp_path, MODULES)
    try:
        async with place.run(replace=ADAPTERS) as running:
            yield running
    finally:
        await place.drop()


@pytest.fixture
async def warehouse_in_memory() -> AsyncIterator[RunningApp]:
    """For what has nothing to do with stores."""
    async with run(*MODULES, replace=ADAPTERS) as running:
        yield running
