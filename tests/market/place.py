"""A place for the data of some modules, which outlives the apps that run there."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from craton.application import Module
from craton.runtime import App
from craton.testing import RunningApp, run
from tests.market.topology import services_of


class Place:
    """Where the data of one test lives: a folder, or schemas of its own in Postgres."""

    def __init__(self, url: str, folder: Path, modules: Sequence[Module]) -> None:
        self.url = url
        self.folder = folder
        self.modules = modules
        self.name = f"market_{uuid4().hex[:12]}"

    @property
    def app(self) -> App:
        return App(self.name, modules=self.modules)

    def run(self, **options: Any) -> AbstractAsyncContextManager[RunningApp]:
        """Run the modules here, in the chosen topology. The options are those of `craton.testing.run`."""
        services = services_of(module.name for module in self.modules)
        return run(self.app, store=self.url, folder=self.folder, services=services, **options)

    async def drop(self) -> None:
        """Remove the data, if it isn't in the test's folder anyway."""
        if self.url == "sqlite":
            return
        connection = await asyncpg.connect(self.url)
        try:
            for module in self.modules:
                await connection.execute(f"DROP SCHEMA IF EXISTS {self.name}_{module.name} CASCADE")
        finally:
            await connection.close()
