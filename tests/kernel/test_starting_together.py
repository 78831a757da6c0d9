"""Several processes of one app start at the same moment on an empty store."""

import asyncio
from contextlib import AsyncExitStack

from craton.application import Api, Database, Module, query
from craton.runtime import App
from tests.conftest import Place


class Shelf(Api):
    @query
    async def jars(self) -> int:
        """How many jars there are."""


class ShelfService(Shelf):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def jars(self) -> int:
        return int((await self._database.fetch("SELECT count(*) AS jars FROM jars"))[0]["jars"])


async def test_one_of_them_makes_the_modules_own_tables(place: Place) -> None:
    names = ["jars", *(f"shelf_{number}" for number in range(20))]
    tables = [f"CREATE TABLE IF NOT EXISTS {name} (id VARCHAR(36) NOT NULL PRIMARY KEY)" for name in names]
    shelf = Module("shelf", api=Shelf, service=ShelfService, tables=tables)

    async with AsyncExitStack() as stack:
        apps = [App("shelf", modules=[shelf], environment={}) for _ in range(4)]
        await asyncio.gather(*(stack.enter_async_context(app.run(place)) for app in apps))

        assert [await app.api(Shelf).jars() for app in apps] == [0, 0, 0, 0]
