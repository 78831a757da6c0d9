"""The benchmark's scenarios on Craton: one run, one JSON line.

Every run has a store of its own, which it removes: a SQLite file in a folder below --data, or a Postgres schema. Both
commit durably, by Craton's own settings.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog

from benchmarks import reactions
from benchmarks.bank import Bank, bank, record
from benchmarks.errands import Errands, Finished, modules
from benchmarks.http_load import new_event_loop
from benchmarks.peers.stats import latency_report, print_report
from benchmarks.postgres import drop_schemas, is_postgres, unique_name
from benchmarks.reactions import Letters, Written
from craton.adapters.stores import stores
from craton.domain import Currency, Money, Name
from craton.ports import Store
from craton.runtime import App
from craton.runtime.process.garbage import collect_rarely
from market.ledger.api import Ledger
from market.ledger.module import ledger

FEED_PAGE = 1_000
LATENCY_WARM_UP = 16
POLL_SECONDS = 0.02

Report = dict[str, float]
Stores = Callable[[str], Store]
Act = Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Options:
    scenario: str
    store: str
    data: Path
    callers: int
    seconds: float
    aggregates: int
    events: int
    rate: float
    sagas: int
    dead: bool


@asynccontextmanager
async def own_stores(options: Options) -> AsyncIterator[Stores]:
    name = unique_name()
    options.data.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=options.data) as folder:
        try:
            yield stores(options.store, Path(folder), name)
        finally:
            if is_postgres(options.store):
                await drop_schemas(options.store, name)


async def call_until(act: Act, deadline: float) -> list[float]:
    """Repeat `act` until the deadline; return the durations of the runs that ended in time."""
    latencies: list[float] = []
    ended = time.perf_counter()
    while True:
        began = ended
        await act()
        ended = time.perf_counter()
        if ended > deadline:
            return latencies
        latencies.append(ended - began)


async def load(act: Act, callers: int, seconds: float) -> Report:
    """Run `act` with this number of callers at a time, after each has run it once to warm up."""
    await asyncio.gather(*(act() for _ in range(callers)))
    deadline = time.perf_counter() + seconds
    lists = await asyncio.gather(*(call_until(act, deadline) for _ in range(callers)))
    latencies = [latency for some in lists for latency in some]
    return {"rate": round(len(latencies) / seconds, 1), **latency_report(latencies)}


async def open_bank(app: App, accounts: int) -> Act:
    """Open accounts; return the deposit into a random one."""
    api = app.api(Bank)
    opening = (api.open_account(Name(f"owner-{number}"), Currency("EUR")) for number in range(accounts))
    ids = await asyncio.gather(*opening)
    return lambda: api.deposit(random.choice(ids), 1)


async def run_append(options: Options, own: Stores) -> Report:
    async with App("bench", modules=[bank]).run(own, subscriptions=False) as app:
        deposit = await open_bank(app, options.aggregates)
        return await load(deposit, options.callers, options.seconds)


async def run_linear(options: Options, own: Stores) -> Report:
    """The same appends with nothing else in the store, and with so many events of other accounts."""
    async with App("bench", modules=[bank]).run(own, subscriptions=False) as app:
        deposit = await open_bank(app, options.aggregates)
        empty = await load(deposit, options.callers, options.seconds)
        await record(app.running["bank"].store, options.events)
        full = await load(deposit, options.callers, options.seconds)
    return {"rate_empty": empty["rate"], "rate_full": full["rate"]}


async def run_latency(options: Options, own: Stores) -> Report:
    """Calls begin at fixed times; each is timed from when it was due."""
    async with App("bench", modules=[bank]).run(own, subscriptions=False) as app:
        deposit = await open_bank(app, options.aggregates)
        await asyncio.gather(*(deposit() for _ in range(LATENCY_WARM_UP)))

        async def deposit_due_at(due: float) -> float:
            await asyncio.sleep(due - time.perf_counter())
            await deposit()
            return time.perf_counter() - due

        first = time.perf_counter()
        dues = [first + number / options.rate for number in range(int(options.rate * options.seconds))]
        return latency_report(await asyncio.gather(*map(deposit_due_at, dues)))


async def run_feed(options: Options, own: Stores) -> Report:
    async with App("bench", modules=[bank]).run(own, subscriptions=False) as app:
        store = app.running["bank"].store
        await record(store, options.events)
        began = time.perf_counter()
        position = read = 0
        while (page := await store.read_feed(position, FEED_PAGE)).position > position:
            read += len([bank.events.recorded(event) for event in page.events])
            position = page.position
        elapsed = time.perf_counter() - began
    if read != options.events:
        raise SystemExit(f"read {read} events of {options.events}")
    return {"rate": round(read / elapsed, 1)}


async def run_rebuild(options: Options, own: Stores) -> Report:
    """The app starts on a log that its projection has never seen."""
    store = own("bank")
    await store.open()
    deposits = await record(store, options.events, dead=options.dead)
    await store.close()
    began = time.perf_counter()
    async with App("bench", modules=[bank]).run(own) as app:
        await caught_up(app)
        elapsed = time.perf_counter() - began
        total = await app.api(Bank).total()
    if total != deposits:
        raise SystemExit(f"the balances add up to {total}, not {deposits}")
    return {"rate": round(options.events / elapsed, 1)}


async def run_hot(options: Options, own: Stores) -> Report:
    """Transfers of the market's ledger, all out of one account, its projections and seals running beside them."""
    async with App("bench", modules=[ledger]).run(own) as app:
        api = app.api(Ledger)
        opening = (api.open_account(Name("owner"), Currency("EUR")) for _ in range(options.aggregates + 1))
        hot, *targets = await asyncio.gather(*opening)
        await api.deposit(hot, Money.of("1000000000.00", "EUR"))
        cent = Money.of("0.01", "EUR")

        async def transfer() -> None:
            await api.transfer(hot, random.choice(targets), cent)

        report = await load(transfer, options.callers, options.seconds)
        began = time.perf_counter()
        await caught_up(app)
        return report | {"views_behind_s": round(time.perf_counter() - began, 3)}


async def run_saga(options: Options, own: Stores) -> Report:
    """Keep a number of sagas running; each begins when another has ended."""
    finished = Finished()
    async with App("bench", modules=modules(finished)).run(own) as app:
        api = app.api(Errands)
        left = iter(range(options.sagas))

        async def caller() -> None:
            for _ in left:
                await finished_errand(api, finished)

        await asyncio.gather(*(finished_errand(api, finished) for _ in range(options.callers)))
        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(options.callers)))
        return {"rate": round(options.sagas / (time.perf_counter() - began), 1)}


async def run_saga_latency(options: Options, own: Stores) -> Report:
    """Sagas begin at fixed times; each is timed from when it was due until its last step has written."""
    finished = Finished()
    async with App("bench", modules=modules(finished)).run(own) as app:
        api = app.api(Errands)
        await asyncio.gather(*(finished_errand(api, finished) for _ in range(LATENCY_WARM_UP)))
        first = time.perf_counter()

        async def due_at(due: float) -> float:
            await asyncio.sleep(due - time.perf_counter())
            await finished_errand(api, finished)
            return time.perf_counter() - due

        dues = [first + number / options.rate for number in range(int(options.rate * options.seconds))]
        return latency_report(await asyncio.gather(*map(due_at, dues)))


async def finished_errand(api: Errands, finished: Finished) -> None:
    errand = await api.begin()
    await finished.of(errand)


async def run_drain(options: Options, own: Stores) -> Report:
    """The policy starts on a log that holds all letters."""
    written = Written()
    async with App("bench", modules=reactions.modules(written)).run(own, subscriptions=False) as app:
        letters = app.api(Letters)
        for first in range(0, options.events, 500):
            await asyncio.gather(*(letters.receive(number) for number in range(first, first + 500)))
    began = time.perf_counter()
    async with App("bench", modules=reactions.modules(written)).run(own):
        while written.count < options.events:
            await asyncio.sleep(POLL_SECONDS)
        return {"rate": round(options.events / (time.perf_counter() - began), 1)}


async def run_react(options: Options, own: Stores) -> Report:
    """Letters come at fixed times; each is timed from when it was due until its receipt is durable."""
    written = Written()
    async with App("bench", modules=reactions.modules(written)).run(own) as app:
        letters = app.api(Letters)

        async def receive(number: int, due: float) -> float:
            await asyncio.sleep(due - time.perf_counter())
            receipt = asyncio.ensure_future(written.of(number))
            await asyncio.sleep(0)
            await letters.receive(number)
            await receipt
            return time.perf_counter() - due

        await receive(-1, time.perf_counter())
        first = time.perf_counter()
        dues = [first + number / options.rate for number in range(int(options.rate * options.seconds))]
        return latency_report(await asyncio.gather(*map(receive, range(len(dues)), dues)))


async def caught_up(app: App) -> None:
    """Return when no projection has any lag."""
    projections = [runner for running in app.running.values() for runner in running.projections.values()]
    while True:
        progress = [await projection.progress() for projection in projections]
        if not any(one.lag for one in progress):
            return
        await asyncio.sleep(POLL_SECONDS)


SCENARIOS: dict[str, Callable[[Options, Stores], Awaitable[Report]]] = {
    "append": run_append,
    "rebuild": run_rebuild,
    "feed": run_feed,
    "latency": run_latency,
    "hot": run_hot,
    "linear": run_linear,
    "drain": run_drain,
    "react": run_react,
    "saga": run_saga,
    "saga-latency": run_saga_latency,
}


async def run(options: Options) -> None:
    async with own_stores(options) as own:
        print_report(await SCENARIOS[options.scenario](options, own))


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(description="Run one scenario on Craton.")
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--store", required=True, help="sqlite or postgresql://user@host:port/db")
    parser.add_argument("--data", type=Path, default=Path("var"), help="where SQLite's files go: on a real disk")
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--aggregates", type=int, default=1_000)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--sagas", type=int, default=5_000)
    parser.add_argument("--dead", action="store_true", help="leave a tenth of the positions without an event")
    return Options(**vars(parser.parse_args(arguments)))


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    collect_rarely()  # as `craton up` does
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(run(parse_options()))


if __name__ == "__main__":
    main()
