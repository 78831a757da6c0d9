"""Calls, events and a takeover between two services on one host, each in a process of its own: one run, one JSON
line."""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog

from benchmarks.bank import Bank, record
from benchmarks.craton_side import FEED_PAGE, POLL_SECONDS, Report, load
from benchmarks.http_load import new_event_loop
from benchmarks.peers.stats import latency_report, print_report
from benchmarks.postgres import drop_schemas, is_postgres, unique_name
from benchmarks.reactions import Letters, Written
from benchmarks.services import Clock, Copy, Place, process
from craton.application import Unavailable
from craton.application.context import Context, entered
from craton.domain import Currency, Name, world
from craton.runtime import App
from craton.runtime.process.garbage import collect_rarely

DEADLINE_SECONDS = 10.0
BEFORE_KILL_SECONDS = 3.0
AFTER_KILL_SECONDS = 12.0


class Run:
    """One run: the owner runs in another process, the caller here."""

    def __init__(self, options: argparse.Namespace, place: Place) -> None:
        self._options = options
        self._place = place
        self._written = Written()

    async def measure(self) -> Report:
        with self._process("own"):
            match self._options.what:
                case "reader":
                    return await self._reader()
                case "takeover":
                    return await self._takeover()
            async with self._place.caller(self._written) as app:
                match self._options.what:
                    case "query":
                        return await load(in_time(app.api(Clock).now), self._options.callers, self._options.seconds)
                    case "command":
                        return await self._command(app)
                    case "react":
                        return await self._react(app)
                    case _:
                        return await self._feed(app)

    def _process(self, what: str) -> Any:
        place = ["--store", self._place.store, "--folder", str(self._place.folder), "--name", self._place.name]
        return process(sys.executable, "-m", "benchmarks.services_side", what, *place)

    async def _command(self, app: App) -> Report:
        """Commands with a key, of which each is durable before it is answered."""
        api, callers = app.api(Bank), self._options.callers
        ids = [await api.open_account(Name(f"n{number}"), Currency("EUR")) for number in range(callers)]
        turns = iter(range(10**9))
        return await load(in_time(lambda: api.deposit(ids[next(turns) % callers], 1)), callers, self._options.seconds)

    async def _react(self, app: App) -> Report:
        """From the call that records an event in one service until the other has acted on it, durably."""
        letters, rate = app.api(Letters), self._options.rate

        async def receive(number: int, due: float) -> float:
            await asyncio.sleep(due - time.perf_counter())
            waiting = asyncio.create_task(self._written.of(number))
            await letters.receive(number)
            await waiting
            return time.perf_counter() - due

        first = time.perf_counter() + 1.0
        numbers = range(int(rate * self._options.seconds))
        return latency_report(await asyncio.gather(*(receive(n, first + n / rate) for n in numbers)))

    async def _feed(self, app: App) -> Report:
        """How fast another service's log is read from its beginning."""
        await self._fill()
        log = app._remote.log("bank", ["Opened", "Deposited"])  # type: ignore[union-attr]
        began, position, count = time.perf_counter(), -1, 0
        page = await log.read_feed(0, FEED_PAGE)
        while page.position > position:
            position, count = page.position, count + len(page.events)
            page = await log.read_feed(position, FEED_PAGE)
        return {"rate": round(count / (time.perf_counter() - began), 1)}

    async def _reader(self) -> Report:
        """A service begins to read a log of another one that it has never seen, and builds a read model of it."""
        deposits = await self._fill()
        began = time.perf_counter()
        async with self._place.caller(self._written) as app:
            copied = 0
            while copied < deposits:
                with suppress(Unavailable):  # the view is being built
                    copied = await app.api(Copy).total()
                await asyncio.sleep(POLL_SECONDS)
            seconds = time.perf_counter() - began
        return {"rate": round(self._options.events / seconds, 1), "seconds": round(seconds, 1)}

    async def _fill(self) -> int:
        store = self._place.stores("bank")
        await store.open()
        try:
            return await record(store, self._options.events)
        finally:
            await store.close()

    async def _takeover(self) -> Report:
        """The replica that reacts to another service's events is killed, and another one goes on with it."""
        with ExitStack() as stack:
            doomed = stack.enter_context(self._process("follow"))
            await asyncio.sleep(1.0)  # it has taken its leases before the other one asks for them
            stack.enter_context(self._process("follow"))
            async with self._place.caller(self._written, subscriptions=False) as app:
                letters = app.api(Letters)
                killing = asyncio.get_running_loop().call_later(
                    BEFORE_KILL_SECONDS, lambda: os.kill(doomed.pid, signal.SIGKILL)
                )
                ids, killed = [], time.time() + killing.when() - asyncio.get_running_loop().time()
                while time.time() < killed + AFTER_KILL_SECONDS:
                    ids.append(await letters.receive(len(ids)))
                    await asyncio.sleep(1 / self._options.rate)
                store = app.running["receipts"].store
                while await store.head() < len(ids):
                    await asyncio.sleep(POLL_SECONDS)
                receipts = (await store.read_feed(0, 10 * len(ids))).events
        of_each = Counter(event.stream for event in receipts)
        if len(of_each) < len(ids) or len(receipts) > len(of_each):
            raise SystemExit(f"{len(ids)} letters have {len(receipts)} receipts, {len(of_each)} of them different")
        times = [event.time.timestamp() for event in receipts]
        return {"seconds": round(max(after - before for before, after in pairwise(times)), 2)}


def in_time(act: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    """A call with a deadline, as calls of routes, policies and steps have one."""

    async def call() -> Any:
        with entered(Context(deadline=world.monotonic() + DEADLINE_SECONDS)):
            return await act()

    return call


async def serve(place: Place, what: str) -> None:
    """Run one of the services, say `ready`, and go on until the signal to stop."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with place.owner() if what == "own" else place.caller(Written()):
        print("ready", flush=True)
        await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure calls and events between two services.")
    parser.add_argument("what", choices=("query", "command", "react", "feed", "reader", "takeover", "own", "follow"))
    parser.add_argument("--store", default="sqlite", help="sqlite or postgresql://user@host:port/db")
    parser.add_argument("--data", type=Path, default=Path("var"), help="where SQLite's files go: on a real disk")
    parser.add_argument("--callers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--folder", type=Path, help="of the run, for its own processes")
    parser.add_argument("--name", default="", help="of the run, for its own processes")
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    collect_rarely()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        if options.what in ("own", "follow"):
            runner.run(serve(Place(options.folder, options.store, options.name), options.what))
            return
        name = unique_name()
        options.data.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="b-", dir=options.data) as folder:
            try:
                print_report(runner.run(Run(options, Place(Path(folder), options.store, name)).measure()))
            finally:
                if is_postgres(options.store):
                    runner.run(drop_schemas(options.store, name))


if __name__ == "__main__":
    main()
