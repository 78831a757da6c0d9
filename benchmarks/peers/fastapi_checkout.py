"""Hand-written orders on FastAPI and SQLAlchemy with their whole checkout, by jobs of `procrastinate` in this process.

A placed order defers its first job in its own transaction, and each job the next one: stock is reserved and a payment
requested; the payment is settled, as a sandbox does at once; the order is confirmed, its stock taken and its shipment
scheduled; the buyer gets a mail, a file in a folder. Each job is one transaction.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import procrastinate
import psycopg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from fastapi_orders import Order, SqlAlchemyOrders
from orders_service import POOL_SIZE, SCHEMA, PlaceOrder, serve

JOBS = "peer_orders_jobs"
AT_ONCE = 32

MORE_TABLES = f"""
ALTER TABLE {SCHEMA}.stock ADD COLUMN reserved integer NOT NULL DEFAULT 0;
CREATE TABLE {SCHEMA}.payments (
    id uuid PRIMARY KEY, order_id uuid NOT NULL UNIQUE, amount numeric(20, 2) NOT NULL, status text NOT NULL
);
CREATE TABLE {SCHEMA}.shipments (order_id uuid PRIMARY KEY, status text NOT NULL);
CREATE TABLE {SCHEMA}.letters (id uuid PRIMARY KEY, order_id uuid NOT NULL UNIQUE, sent boolean NOT NULL);
"""
LINES = text(f"SELECT product_id, quantity FROM {SCHEMA}.order_lines WHERE order_id = :order ORDER BY product_id")
RESERVE = text(
    f"UPDATE {SCHEMA}.stock SET available = available - :quantity, reserved = reserved + :quantity"
    " WHERE product_id = :product AND available >= :quantity"
)
TAKE = text(f"UPDATE {SCHEMA}.stock SET reserved = reserved - :quantity WHERE product_id = :product")
REQUEST = text(
    f"INSERT INTO {SCHEMA}.payments (id, order_id, amount, status)"
    f" SELECT :id, id, total, 'requested' FROM {SCHEMA}.orders WHERE id = :order"
)
SETTLE = text(f"UPDATE {SCHEMA}.payments SET status = 'paid' WHERE order_id = :order AND status = 'requested'")
SHIP = text(f"INSERT INTO {SCHEMA}.shipments VALUES (:order, 'scheduled')")
LETTER = text(f"INSERT INTO {SCHEMA}.letters VALUES (:id, :order, true)")
BUYER = text(
    f"SELECT u.email, u.name, o.total FROM {SCHEMA}.orders o JOIN {SCHEMA}.users u ON u.id = o.buyer_id"
    " WHERE o.id = :order"
)
DEFER = text(
    f"SELECT {JOBS}.procrastinate_defer_jobs_v1(ARRAY[ROW('default', CAST(:task AS varchar), 0, NULL, NULL,"
    f" CAST(:args AS jsonb), NULL)::{JOBS}.procrastinate_job_to_defer_v1])"
)


async def defer(session: AsyncSession, task: str, order: UUID | str) -> None:
    await session.execute(DEFER, {"task": task, "args": json.dumps({"order": str(order)})})


class Checkouts(SqlAlchemyOrders):
    """Orders whose placing defers the first job of their checkout."""

    def __init__(self, engine: AsyncEngine, folder: Path) -> None:
        super().__init__(engine)
        self._folder = folder

    async def also(self, session: AsyncSession, order: Order, request: PlaceOrder) -> None:
        await defer(session, "reserve", order.id)

    async def reserve(self, order: str) -> None:
        async with self._writing.begin() as session:
            for product, quantity in (await session.execute(LINES, {"order": order})).all():
                reserved: Any = await session.execute(RESERVE, {"product": product, "quantity": quantity})
                if not reserved.rowcount:
                    raise RuntimeError("sold out")
            await session.execute(REQUEST, {"id": uuid4(), "order": order})
            await defer(session, "settle", order)

    async def settle(self, order: str) -> None:
        async with self._writing.begin() as session:
            await session.execute(SETTLE, {"order": order})
            await defer(session, "confirm", order)

    async def confirm(self, order: str) -> None:
        async with self._writing.begin() as session:
            found = await session.get_one(Order, UUID(order))
            found.status = "confirmed"
            for product, quantity in (await session.execute(LINES, {"order": order})).all():
                await session.execute(TAKE, {"product": product, "quantity": quantity})
            await session.execute(SHIP, {"order": order})
            await defer(session, "write", order)

    async def write(self, order: str) -> None:
        async with self._writing.begin() as session:
            email, name, total = (await session.execute(BUYER, {"order": order})).one()
            await asyncio.to_thread(self._mail, order, email, name, total)
            await session.execute(LETTER, {"id": uuid4(), "order": order})

    def _mail(self, order: str, email: str, name: str, total: Any) -> None:
        mail = EmailMessage()
        mail["To"], mail["From"], mail["Subject"] = email, "market@example.com", "Your order"
        mail.set_content(f"Dear {name}, your order over {total} is confirmed.")
        written = self._folder / f".{order}"
        written.write_bytes(mail.as_bytes())
        written.replace(self._folder / f"{order}.eml")


@asynccontextmanager
async def open_orders(store: str) -> AsyncIterator[Checkouts]:
    parts = urlsplit(store)
    async with await psycopg.AsyncConnection.connect(store, autocommit=True) as connection:
        await connection.execute(f"DROP SCHEMA IF EXISTS {JOBS} CASCADE; CREATE SCHEMA {JOBS}; {MORE_TABLES}")
    engine = create_async_engine(
        urlunsplit(parts._replace(scheme="postgresql+asyncpg")),
        pool_size=POOL_SIZE,
        max_overflow=0,
        connect_args={"server_settings": {"search_path": JOBS}},
    )
    options = {"options": f"-c search_path={JOBS}"}
    app = procrastinate.App(
        connector=procrastinate.PsycopgConnector(conninfo=store, kwargs=options, min_size=4, max_size=AT_ONCE)
    )
    with TemporaryDirectory() as folder:
        orders = Checkouts(engine, Path(folder))
        for job in (orders.reserve, orders.settle, orders.confirm, orders.write):
            app.task(name=job.__name__, retry=5)(job)
        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            worker = asyncio.create_task(app.run_worker_async(concurrency=AT_ONCE, install_signal_handlers=False))
            try:
                yield orders
            finally:
                worker.cancel()
                await asyncio.wait([worker])
                await engine.dispose()


if __name__ == "__main__":
    serve(open_orders, __doc__)
