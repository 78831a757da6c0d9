"""Two services on one host for the benchmarks: `owner` is called and its events are read, `caller` calls and reads."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import time
from typing import Any

from benchmarks import reactions
from benchmarks.bank import BalanceRow, Balances, Bank, bank
from benchmarks.reactions import Letters, Written
from craton.adapters.http import listen_at, serving_beside
from craton.adapters.services import Hosting
from craton.adapters.stores import stores
from craton.application import Api, Module, View, query
from craton.runtime import App
from craton.runtime.topology import Topology


class Clock(Api):
    @query
    async def now(self) -> float:
        """A query that asks no store."""


class ClockService(Clock):
    async def now(self) -> float:
        return time()


class Copies(Balances):
    """The balances, in another service than the bank."""


class Copy(Api):
    @query
    async def total(self) -> int:
        """What all accounts hold, by the events that were read."""


class CopyService(Copy):
    """That it has these parameters allows its service to call the others."""

    def __init__(self, balances: View[BalanceRow], bank: Bank, clock: Clock, letters: Letters) -> None:
        self._balances = balances
        self._others = bank, clock, letters

    async def total(self) -> int:
        return (await self._balances.sum("balance")).get((), 0)


clock = Module("clock", api=Clock, service=ClockService)
copy = Module("copy", api=Copy, service=CopyService, projections=[Copies])
SERVICES = {"owner": ("bank", "clock", "letters"), "caller": ("copy", "receipts")}


class Place:
    """Where the services have their data and their sockets."""

    def __init__(self, folder: Path, store: str, name: str) -> None:
        self.folder = folder
        self.store = store
        self.name = name

    @property
    def stores(self) -> Any:
        return stores(self.store, self.folder, self.name)

    def hosting(self, written: Written) -> tuple[Hosting, Topology]:
        app = App("bench", modules=[bank, clock, copy, *reactions.modules(written)], environment={})
        topology = Topology.of(SERVICES).placed(app.wiring.modules)
        return Hosting(app, topology, self.folder), topology

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[App]:
        """Run the service that is called."""
        hosting, topology = self.hosting(Written())
        service = topology.service("owner")
        part = hosting.part(service, hosting.peers("owner"))
        async with part.run(self.stores):
            listening = listen_at(Path(service.own_endpoint(self.folder, 1).path))
            async with serving_beside(hosting.server(part, service), listening):
                yield part

    @asynccontextmanager
    async def caller(self, written: Written, *, subscriptions: bool = True) -> AsyncIterator[App]:
        """Run the service that calls and reads; without `subscriptions` it only calls."""
        hosting, topology = self.hosting(written)
        peers = hosting.peers("caller")
        try:
            part = hosting.part(topology.service("caller"), peers)
            async with part.run(self.stores, subscriptions=subscriptions):
                yield part
        finally:
            await peers.close()


@contextmanager
def process(*arguments: str, says: str = "ready") -> Iterator[subprocess.Popen[str]]:
    """Run a program while the block lasts, from when it `says` that it serves."""
    started = subprocess.Popen(arguments, stdout=subprocess.PIPE, env=os.environ, text=True)
    try:
        while says and says not in (started.stdout.readline() if started.stdout else ""):
            if started.poll() is not None:
                raise SystemExit(f"{arguments} has ended")
        yield started
    finally:
        started.terminate()
        started.wait()
