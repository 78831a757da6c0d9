"""The market with its courses in each database that they can be in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.market.shop import Shop

DATABASES = ("sqlite", "postgres", "mariadb")


@pytest.fixture(params=DATABASES)
async def school(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    settings, url = {}, "sqlite"
    if request.param == "mariadb":
        settings["CRATON_COURSES_DATABASE"] = str(request.getfixturevalue("mariadb_url"))
    if request.param == "postgres":
        url = str(request.getfixturevalue("postgres_url"))
    shop = Shop(url, tmp_path, settings=settings)
    try:
        async with shop:
            yield shop
    finally:
        await shop.drop()
