"""Calls between two processes, as services in Python usually make them: one run, one JSON line.

`fastapi`: FastAPI with pydantic, asked by httpx. `grpc`: grpc.aio with protobuf messages. `faststream`: a request and
its answer over NATS. All of them answer the time. `deposit`: the hand-written FastAPI and SQLAlchemy ledger, asked by
httpx for deposits to as many accounts as there are callers.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path

import grpc.aio
import httpx
import uvicorn
import uvloop
from fastapi import FastAPI
from faststream import FastStream
from faststream.nats import NatsBroker
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import DoubleValue
from pydantic import BaseModel

from stats import latency_report, print_report

PORT = 8189
NATS = "nats://127.0.0.1:4222"
LEDGER = Path(__file__).with_name("fastapi_service.py")
METHOD = "/clock.Clock/Now"
ASK_AGAIN_SECONDS = 0.1

Ask = Callable[[], Awaitable[object]]


class Question(BaseModel):
    """Nothing is asked but the time."""


class Answer(BaseModel):
    now: float


# --- servers -------------------------------------------------------------------------------------------------


def serve_fastapi() -> None:
    app = FastAPI()

    @app.post("/now")
    async def now(question: Question) -> Answer:
        return Answer(now=time.time())

    uvicorn.run(app, port=PORT, log_level="error")


async def serve_grpc() -> None:
    async def now(_: Empty, __: object) -> DoubleValue:
        return DoubleValue(value=time.time())

    handler = grpc.unary_unary_rpc_method_handler(now, Empty.FromString, DoubleValue.SerializeToString)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("clock.Clock", {"Now": handler})])
    server.add_insecure_port(f"127.0.0.1:{PORT}")
    await server.start()
    await server.wait_for_termination()


async def serve_faststream() -> None:
    broker = NatsBroker(NATS, logger=None)

    @broker.subscriber(f"clock.{PORT}")
    async def now(question: Question) -> Answer:
        return Answer(now=time.time())

    await FastStream(broker, logger=None).run()


# --- clients -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def asking_fastapi(_: int) -> AsyncIterator[Ask]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}") as client:

        async def ask() -> object:
            answer = await client.post("/now", json={})
            return answer.json()["now"]

        yield ask


@asynccontextmanager
async def asking_grpc(_: int) -> AsyncIterator[Ask]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{PORT}") as channel:
        call = channel.unary_unary(METHOD, Empty.SerializeToString, DoubleValue.FromString)

        async def ask() -> object:
            return (await call(Empty())).value

        yield ask


@asynccontextmanager
async def asking_faststream(_: int) -> AsyncIterator[Ask]:
    async with NatsBroker(NATS, logger=None) as broker:

        async def ask() -> object:
            answer = await broker.request(Question(), f"clock.{PORT}")
            return Answer.model_validate_json(answer.body).now

        yield ask


@asynccontextmanager
async def depositing(callers: int) -> AsyncIterator[Ask]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}") as client:
        body = {"owner": "owner", "currency": "EUR"}
        ids = [(await client.post("/v1/accounts", json=body)).json()["id"] for _ in range(callers)]
        turns, money = count(), {"money": {"amount": "0.01", "currency": "EUR"}}

        async def ask() -> object:
            answer = await client.post(f"/v1/accounts/{ids[next(turns) % callers]}/deposits", json=money)
            return answer.raise_for_status()

        yield ask


CLIENTS = {
    "fastapi": asking_fastapi,
    "grpc": asking_grpc,
    "faststream": asking_faststream,
    "deposit": depositing,
}


# --- a run ---------------------------------------------------------------------------------------------------


@contextmanager
def serving(what: str, store: str) -> Iterator[None]:
    ledger = [str(LEDGER), "--port", str(PORT), "--store", store]
    command = ledger if what == "deposit" else [__file__, what, "--serve"]
    server = subprocess.Popen([sys.executable, *command])
    try:
        yield
    finally:
        server.terminate()
        server.wait()


async def until_served(what: str) -> None:
    while True:
        try:
            async with CLIENTS[what](1) as ask:
                await ask()
                return
        except Exception:  # each library has its own for a server that isn't there yet
            await asyncio.sleep(ASK_AGAIN_SECONDS)


async def measure(what: str, callers: int, seconds: float) -> None:
    await until_served(what)
    async with CLIENTS[what](callers) as ask:
        deadline = time.perf_counter() + seconds

        async def caller() -> list[float]:
            latencies, ended = [], time.perf_counter()
            while True:
                began = ended
                await ask()
                ended = time.perf_counter()
                if ended > deadline:
                    return latencies
                latencies.append(ended - began)

        lists = await asyncio.gather(*(caller() for _ in range(callers)))
    latencies = [latency for some in lists for latency in some]
    print_report({"rate": round(len(latencies) / seconds, 1), **latency_report(latencies)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=CLIENTS)
    parser.add_argument("--store", default="", help="postgresql://user@host:port/db, for deposits")
    parser.add_argument("--callers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--serve", action="store_true", help="be the server of a run")
    options = parser.parse_args()
    if not options.serve:
        with serving(options.what, options.store):
            uvloop.run(measure(options.what, options.callers, options.seconds))
    elif options.what == "fastapi":
        serve_fastapi()
    else:
        uvloop.run(serve_grpc() if options.what == "grpc" else serve_faststream())


if __name__ == "__main__":
    main()
