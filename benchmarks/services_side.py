"""Calls and events between two services on one host, each in a process of its own, and the same with FastAPI and httpx.

`python -m benchmarks.services_side query|command|react|feed [--store URL] [--callers N] [--peer]` prints a report.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import uvloop

from benchmarks import reactions
from benchmarks.bank import Bank, bank
from benchmarks.craton_side import load
from benchmarks.peers.stats import latency_report, print_report
from benchmarks.postgres import drop_schemas, is_postgres, unique_name
from benchmarks.reactions import Letters, Written
from craton.adapters.http import listen_at, serving_beside
from craton.adapters.services import Hosting
from craton.adapters.stores import stores
from craton.application import Api, Module, query
from craton.application.context import Context, entered
from craton.domain import Currency, Name, world
from craton.runtime import App
from craton.runtime.process.garbage import collect_rarely
from craton.runtime.topology import Topology

PEER_PORT = 8189
RATE = 50
PEERS_PYTHON = str(Path(__file__).resolve().parents[1] / ".venv-peers" / "bin" / "python")


class Asking(Api):
    """The caller's module: that it has these parameters allows its service to call the others."""

    @query
    async def both(self) -> float:
        """The time, and what all accounts hold."""


class AskingService(Asking):
    def __init__(self, bank: Bank, clock: "Clock", letters: Letters) -> None:
        self._bank = bank
        self._clock = clock
        self._letters = letters

    async def both(self) -> float:
        return await self._clock.now() + await self._bank.total()


class Clock(Api):
    @query
    async def now(self) -> float:
        """A query that asks no store."""


class ClockService(Clock):
    async def now(self) -> float:
        return time.time()


asking = Module("asking", api=Asking, service=AskingService)
clock = Module("clock", api=Clock, service=ClockService)


def app_of(written: Written) -> App:
    return App("bench", modules=[bank, asking, clock, *reactions.modules(written)], environment={})


OWNED = ("bank", "clock", "letters")
CALLING = ("asking", "receipts")
TOPOLOGY = {"owner": OWNED, "caller": CALLING}


def hosting(written: Written, folder: Path) -> tuple[Hosting, Topology]:
    app = app_of(written)
    topology = Topology.of(TOPOLOGY).placed(app.wiring.modules)
    return Hosting(app, topology, folder), topology


async def own(folder: Path, store: str, name: str) -> None:
    """The service that is called and whose events are read; it says `ready` and runs until it is ended."""
    made, topology = hosting(Written(), folder)
    service = topology.service("owner")
    part = made.part(service, made.peers("owner"))
    async with part.run(stores(store, folder, name)):
        listening = listen_at(Path(service.own_endpoint(folder, 1).path))
        async with serving_beside(made.server(part, service), listening):
            print("ready", flush=True)
            ended = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
            await ended.wait()


@contextmanager
def process(*arguments: str, said: str = "ready") -> Any:
    started = subprocess.Popen(arguments, stdout=subprocess.PIPE, env=os.environ, text=True)
    try:
        while said and said not in (started.stdout.readline() if started.stdout else ""):
            if started.poll() is not None:
                raise RuntimeError(f"{arguments} has ended")
        yield started
    finally:
        started.terminate()
        started.wait()


@asynccontextmanager
async def calling(folder: Path, store: str, name: str, written: Written) -> AsyncIterator[App]:
    made, topology = hosting(written, folder)
    peers = made.peers("caller")
    try:
        part = made.part(topology.service("caller"), peers)
        async with part.run(stores(store, folder, name)):
            yield part
    finally:
        await peers.close()


async def measured(options: argparse.Namespace, folder: Path, name: str) -> dict[str, float]:
    written = Written()
    serve = [sys.executable, "-m", "benchmarks.services_side", "own", "--store", options.store]
    with process(*serve, "--folder", str(folder), "--name", name):
        async with calling(folder, options.store, name, written) as app:
            match options.what:
                case "query":
                    return await load(in_time(app.api(Clock).now), options.callers, options.seconds)
                case "command":
                    api = app.api(Bank)
                    ids = [await api.open_account(Name(f"n{n}"), Currency("EUR")) for n in range(options.callers)]
                    turns = iter(range(10**9))
                    return await load(
                        in_time(lambda: api.deposit(ids[next(turns) % len(ids)], 1)), options.callers, options.seconds
                    )
                case "react":
                    return await reaction_times(app, written, options.seconds)
                case _:
                    return await drained(app, written)


def in_time(act: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    """A call with a deadline, as calls of routes, policies and steps have one."""

    async def call() -> Any:
        with entered(Context(deadline=world.monotonic() + 10.0)):
            return await act()

    return call


async def reaction_times(app: App, written: Written, seconds: float) -> dict[str, float]:
    """From the call that records an event in one service until the other has acted on it, durably."""
    letters = app.api(Letters)

    async def receive(number: int, due: float) -> float:
        await asyncio.sleep(due - time.perf_counter())
        waiting = asyncio.create_task(written.of(number))
        await letters.receive(number)
        await waiting
        return time.perf_counter() - due

    first = time.perf_counter() + 1.0
    numbers = range(int(RATE * seconds))
    return latency_report(await asyncio.gather(*(receive(n, first + n / RATE) for n in numbers)))


async def drained(app: App, written: Written) -> dict[str, float]:
    """How fast another service's log is read from its beginning."""
    log = app._remote.log("letters", ["LetterReceived"])  # type: ignore[union-attr]
    letters = app.api(Letters)
    for start in range(0, 20_000, 500):
        await asyncio.gather(*(letters.receive(start + n) for n in range(500)))
    began, position, count = time.perf_counter(), 0, 0
    while True:
        page = await log.read_feed(position, 1_000)
        if page.position == position:
            break
        position, count = page.position, count + len(page.events)
    return {"rate": round(count / (time.perf_counter() - began), 1)}


async def measured_peer(options: argparse.Namespace) -> dict[str, float]:
    """FastAPI and httpx, the usual way."""
    with process(PEERS_PYTHON, str(Path(__file__).parent / "peers" / "fastapi_clock.py"), str(PEER_PORT), said="") as _:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PEER_PORT}") as client:
            while True:
                try:
                    await client.post("/now", json={})
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.1)

            async def ask() -> float:
                answer = await client.post("/now", json={})
                return float(answer.json()["now"])

            return await load(ask, options.callers, options.seconds)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("query", "command", "react", "feed", "own"))
    parser.add_argument("--store", default="sqlite")
    parser.add_argument("--callers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--name", default="")
    options = parser.parse_args()
    collect_rarely()
    if options.what == "own":
        uvloop.run(own(options.folder, options.store, options.name))
        return
    if options.peer:
        print_report(uvloop.run(measured_peer(options)))
        return
    name = unique_name()
    with TemporaryDirectory(prefix="bench-") as folder:
        try:
            print_report(uvloop.run(measured(options, Path(folder), name)))
        finally:
            if is_postgres(options.store):
                asyncio.run(drop_schemas(options.store, name))


if __name__ == "__main__":
    main()
