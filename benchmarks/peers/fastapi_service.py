"""A hand-written ledger on FastAPI, SQLAlchemy's async ORM and asyncpg.

Served with `--port P`, or, as `hot`, its transfers called in-process with one
account as the source of all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from uuid import UUID

import uvicorn
import uvloop
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from fastapi_ledger import (
    POOL_SIZE,
    Account,
    AccountState,
    Created,
    Deposit,
    Money,
    OpenAccount,
    Refusal,
    Sessions,
    TransferMoney,
    deposit,
    make_sessions,
    open_account,
    open_engine,
    read_account,
    transfer,
)
from stats import latency_report, print_report

HOT_TARGETS = 1_000
HOT_BALANCE = Decimal("1000000000.00")
CENT = Decimal("0.01")


def create_app(store: str) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_engine(store) as engine:
            app.state.sessions = make_sessions(engine)
            yield

    app = FastAPI(title="ledger", lifespan=lifespan)

    @app.exception_handler(Refusal)
    async def answer_refusal(_: Request, refusal: Refusal) -> JSONResponse:
        return JSONResponse({"detail": refusal.reason}, status_code=refusal.status)

    @app.post("/v1/accounts", status_code=201)
    async def post_account(body: OpenAccount) -> Created:
        return Created(id=await open_account(app.state.sessions, body))

    @app.post("/v1/accounts/{account_id}/deposits", status_code=201)
    async def post_deposit(account_id: UUID, body: Deposit) -> None:
        await deposit(app.state.sessions, account_id, body.money)

    @app.post("/v1/transfers", status_code=201)
    async def post_transfer(body: TransferMoney) -> Created:
        return Created(id=await transfer(app.state.sessions, body))

    @app.get("/v1/accounts/{account_id}")
    async def get_account(account_id: UUID) -> AccountState:
        return await read_account(app.state.sessions, account_id)

    return app


async def call_hot(
    sessions: Sessions, hot_id: UUID, target_ids: Sequence[UUID], seconds: float
) -> list[float]:
    money = Money(amount=CENT, currency="EUR")
    latencies: list[float] = []
    ended = time.perf_counter()
    deadline = ended + seconds
    while True:
        began = ended
        request = TransferMoney(source=hot_id, target=random.choice(target_ids), money=money)
        await transfer(sessions, request)
        ended = time.perf_counter()
        if ended > deadline:
            return latencies
        latencies.append(ended - began)


async def run_hot(store: str, callers: int, seconds: float) -> None:
    async with open_engine(store) as engine:
        sessions = make_sessions(engine)
        hot = Account(owner="hot", currency="EUR", balance=HOT_BALANCE)
        targets = [Account(owner="target", currency="EUR") for _ in range(HOT_TARGETS)]
        async with sessions.begin() as session:
            session.add_all([hot, *targets])
        target_ids = [target.id for target in targets]
        connections = [await engine.connect() for _ in range(min(callers, POOL_SIZE))]
        for connection in connections:
            await connection.close()
        latency_lists = await asyncio.gather(
            *(call_hot(sessions, hot.id, target_ids, seconds) for _ in range(callers))
        )
    latencies = [latency for latencies in latency_lists for latency in latencies]
    print_report({"rate": round(len(latencies) / seconds, 1), **latency_report(latencies)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mode", nargs="?", choices=["serve", "hot"], default="serve")
    parser.add_argument("--store", required=True, help="postgresql://user@host:port/db")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    if options.mode == "hot":
        uvloop.run(run_hot(options.store, options.callers, options.seconds))
        return
    uvicorn.run(
        create_app(options.store),
        host="127.0.0.1",
        port=options.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
