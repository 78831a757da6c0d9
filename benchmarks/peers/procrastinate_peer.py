"""The benchmark's reactions on the PyPI package `procrastinate`: a job for each letter, which writes a row.

Jobs run side by side in one worker, up to sixty-four as Craton's reactions do, each with one statement of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from urllib.parse import urlsplit, urlunsplit

import procrastinate
import psycopg
import psycopg_pool

from stats import latency_report, print_report

DATABASE = "peer_procrastinate"
AT_ONCE = 64


def with_database(url: str, name: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(("postgresql", parts.netloc, f"/{name}", "", ""))


def make_database(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {DATABASE}")
    with psycopg.connect(with_database(url, DATABASE), autocommit=True) as connection:
        connection.execute("CREATE TABLE receipts (number int PRIMARY KEY)")


class Peer:
    """The application, its job, and who waits for which receipt."""

    def __init__(self, url: str) -> None:
        self.app = procrastinate.App(
            connector=procrastinate.PsycopgConnector(conninfo=url, min_size=4, max_size=AT_ONCE // 2)
        )
        self.pool = psycopg_pool.AsyncConnectionPool(
            url, min_size=4, max_size=AT_ONCE // 2, open=False, kwargs={"autocommit": True}
        )
        self.count = 0
        self.waiting: dict[int, asyncio.Event] = {}
        self.receipt = self.app.task(name="receipt")(self.write)

    async def write(self, number: int) -> None:
        async with self.pool.connection() as connection:
            await connection.execute("INSERT INTO receipts (number) VALUES (%s) ON CONFLICT DO NOTHING", (number,))
        self.count += 1
        if number in self.waiting:
            self.waiting[number].set()

    async def drain(self, letters: int) -> dict[str, float]:
        """The worker starts when all jobs are there."""
        for first in range(0, letters, 500):
            await self.receipt.batch_defer_async(*({"number": number} for number in range(first, first + 500)))
        began = time.perf_counter()
        await self.app.run_worker_async(concurrency=AT_ONCE, wait=False)
        return {"rate": round(self.count / (time.perf_counter() - began), 1)}

    async def react(self, rate: float, seconds: float) -> dict[str, float]:
        worker = asyncio.create_task(self.app.run_worker_async(concurrency=AT_ONCE, listen_notify=True))
        await asyncio.sleep(1)

        async def receive(number: int, due: float) -> float:
            await asyncio.sleep(due - time.perf_counter())
            event = self.waiting[number] = asyncio.Event()
            await self.receipt.defer_async(number=number)
            await event.wait()
            return time.perf_counter() - due

        first = time.perf_counter()
        dues = [first + number / rate for number in range(int(rate * seconds))]
        latencies = await asyncio.gather(*map(receive, range(len(dues)), dues))
        worker.cancel()
        await asyncio.wait([worker])
        return latency_report(latencies)


async def run(options: argparse.Namespace) -> None:
    make_database(options.store)
    peer = Peer(with_database(options.store, DATABASE))
    await peer.pool.open()
    async with peer.app.open_async():
        await peer.app.schema_manager.apply_schema_async()
        if options.scenario == "drain":
            report = await peer.drain(options.events)
        else:
            report = await peer.react(options.rate, options.seconds)
    await peer.pool.close()
    print_report(report)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", choices=["drain", "react"])
    parser.add_argument("--store", required=True, help="postgresql://user@host:port/db")
    parser.add_argument("--events", type=int, default=2_000)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
