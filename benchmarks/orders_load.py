"""Load an order service over HTTP: orders placed, or orders read.

A client of any service that has these routes. The buyers' tokens and the products' ids come as JSON on standard
input: `{"tokens": [...], "product_ids": [...], "user_ids": [...]}`. Requests are made as in `http_load`. In the report,
`client_cpu` is the share of one CPU that this process took, which says whether it was what held the rate down, and
`cpu_us` is what each of the watched processes took for a request, in microseconds of CPU time.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from benchmarks import cpu
from benchmarks.http_load import Client, NextMessage, Response, measured, new_event_loop, percentile_ms

MOST_OF_ONE = 5
ASK_AGAIN_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Service:
    """What its clients know of a service."""

    host: str
    tokens: Sequence[str]
    product_ids: Sequence[str]
    user_ids: Sequence[str]
    lines: int

    def order_of(self, token: str, keys: Iterator[str]) -> bytes:
        lines = ",".join(
            f'{{"product_id":"{product_id}","quantity":{random.randint(1, MOST_OF_ONE)}}}'
            for product_id in random.sample(self.product_ids, self.lines)
        )
        body = f'{{"lines":[{lines}],"pay_with":"card","payment_method":"pm_load"}}'
        head = (
            f"POST /v1/orders HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {token}\r\n"
            f"Idempotency-Key: {next(keys)}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return (head + body).encode()

    def read_of(self, token: str, path: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()

    def order_read(self, token: str, order_id: str) -> bytes:
        return self.read_of(token, f"/v1/orders/{order_id}")


def fresh_keys() -> Iterator[str]:
    """Idempotency keys that no other run had."""
    run = uuid4()
    return (f"{run}-{number}" for number in count())


async def must(client: Client, message: bytes) -> Response:
    """Send a request that must succeed."""
    response = await client.send(message)
    if not response.succeeded:
        raise SystemExit(f"{message.split(b' HTTP', 1)[0].decode()}: {response.status} {response.body!r}")
    return response


async def place_to_read(service: Service, clients: Sequence[Client], orders: int) -> list[bytes]:
    """Place `orders` orders over all connections; return the requests that read them."""
    keys = fresh_keys()

    async def place_share(client: Client, share: int) -> list[bytes]:
        reads = []
        for _ in range(share):
            token = random.choice(service.tokens)
            placed = await must(client, service.order_of(token, keys))
            reads.append(service.order_read(token, json.loads(placed.body)["order_id"]))
        return reads

    shares = [len(range(first, orders, len(clients))) for first in range(len(clients))]
    placed = await asyncio.gather(*map(place_share, clients, shares))
    return [read for reads in placed for read in reads]


async def readable(client: Client, reads: Sequence[bytes], seconds: float) -> None:
    """Wait until each order can be read, for services that answer from views which follow the writes."""
    deadline = time.monotonic() + seconds
    for read in reads:
        while (await client.send(read)).status == 404 and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        await must(client, read)


async def messages(options: argparse.Namespace, service: Service, clients: Sequence[Client]) -> NextMessage:
    if options.scenario == "get":
        reads = await place_to_read(service, clients, options.orders)
        await readable(clients[0], reads, options.patience)
        return lambda: random.choice(reads)
    if options.scenario == "user":
        owners = zip(service.tokens, service.user_ids, strict=True)
        reads = [service.read_of(token, f"/v1/users/{user_id}") for token, user_id in owners]
        for read in reads:
            await must(clients[0], read)
        return lambda: random.choice(reads)
    keys = fresh_keys()
    await must(clients[0], service.order_of(service.tokens[0], keys))
    return lambda: service.order_of(random.choice(service.tokens), keys)


def service_of(options: argparse.Namespace, known: dict[str, Any]) -> Service:
    user_ids = known.get("user_ids", ())
    return Service(urlsplit(options.url).netloc, known["tokens"], known["product_ids"], user_ids, options.lines)


async def load(options: argparse.Namespace, known: dict[str, Any]) -> None:
    service = service_of(options, known)
    clients = [Client(options.url) for _ in range(options.connections)]
    next_message, requests = await messages(options, service, clients), count()

    def counted() -> bytes:
        next(requests)
        return next_message()

    before = cpu.used(options.watched)
    began, cpu_began = time.perf_counter(), time.process_time()
    report: dict[str, Any] = await measured(clients, counted, options.seconds)
    report["client_cpu"] = round((time.process_time() - cpu_began) / (time.perf_counter() - began), 2)
    after, total = cpu.used(options.watched), next(requests)
    report["cpu_us"] = {name: round((after[name] - before[name]) / total * 1e6) for name in after}
    print(json.dumps(report), flush=True)


async def checkout(options: argparse.Namespace, known: dict[str, Any]) -> None:
    """Place orders as fast as they are taken; time until none of them is pending any more."""
    service = service_of(options, known)
    clients = [Client(options.url) for _ in range(options.connections)]
    await must(clients[0], service.order_of(service.tokens[0], fresh_keys()))
    before, began = cpu.used(options.watched), time.perf_counter()
    for read in await place_to_read(service, clients, options.orders):
        while await is_pending(clients[0], read):
            await asyncio.sleep(ASK_AGAIN_SECONDS)
    elapsed, after = time.perf_counter() - began, cpu.used(options.watched)
    used = {name: round((after[name] - before[name]) / options.orders * 1e6) for name in after}
    print(json.dumps({"rate": round(options.orders / elapsed, 1), "cpu_us": used}), flush=True)


async def is_pending(client: Client, read: bytes) -> bool:
    """Whether an order waits for its checkout; one that can't be found yet does."""
    answer = await client.send(read)
    if answer.status == 404:
        return True
    if not answer.succeeded:
        raise SystemExit(f"an order can't be read: {answer.status} {answer.body!r}")
    return bool(json.loads(answer.body)["status"] == "pending")


async def pace(options: argparse.Namespace, known: dict[str, Any]) -> None:
    """Place orders at a low rate; time each until it isn't pending any more, by asking often."""
    service = service_of(options, known)
    keys, latencies = fresh_keys(), list[float]()

    async def check_out() -> None:
        client, token = Client(options.url), random.choice(service.tokens)
        began = time.perf_counter()
        placed = await must(client, service.order_of(token, keys))
        read = service.order_read(token, json.loads(placed.body)["order_id"])
        while await is_pending(client, read):
            await asyncio.sleep(ASK_AGAIN_SECONDS)
        latencies.append(time.perf_counter() - began)
        client.close()

    async with asyncio.TaskGroup() as checkouts:
        for _ in range(int(options.rate * options.seconds)):
            checkouts.create_task(check_out())
            await asyncio.sleep(1 / options.rate)
    latencies.sort()
    print(json.dumps({"p50_ms": percentile_ms(latencies, 0.50), "p99_ms": percentile_ms(latencies, 0.99)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Load an order service over HTTP; JSON on standard input.")
    parser.add_argument("scenario", choices=["place", "get", "user", "checkout", "pace"])
    parser.add_argument("--url", required=True, help="http://127.0.0.1:PORT")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=5.0, help="orders a second, when they are placed at a pace")
    parser.add_argument("--lines", type=int, default=3, help="lines of an order, each of another product")
    parser.add_argument("--orders", type=int, default=1_000, help="how many orders there are to get")
    parser.add_argument("--watched", type=json.loads, default={}, help="processes by name, as JSON")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds until every order can be got")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        run = {"pace": pace, "checkout": checkout}.get(options.scenario, load)
        runner.run(run(options, json.load(sys.stdin)))


if __name__ == "__main__":
    main()
