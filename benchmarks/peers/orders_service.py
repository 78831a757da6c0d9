"""What the two hand-written order services share: tables, requests, the token's check and the routes.

The checkout itself is a job for a worker, which is no part of what is measured; rows of `outbox` and `jobs` are
deleted by whoever carries them out, so their primary keys are all the indexes they need.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol
from uuid import UUID, uuid4

import asyncpg
import jwt
import uvicorn
from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

SCHEMA = "peer_orders"
POOL_SIZE = 32
SECRET = "a secret of the benchmark's own, long enough for HS256"
ALGORITHM = "HS256"
TOKEN_LIFETIME = timedelta(hours=12)
CURRENCY = "EUR"
STOCK = 1_000_000

TABLES = """
CREATE TABLE users (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    active boolean NOT NULL DEFAULT true
);
CREATE TABLE products (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    price numeric(20, 2) NOT NULL CHECK (price > 0),
    currency varchar(3) NOT NULL
);
CREATE TABLE stock (
    product_id uuid PRIMARY KEY REFERENCES products,
    available integer NOT NULL CHECK (available >= 0)
);
CREATE TABLE orders (
    id uuid PRIMARY KEY,
    buyer_id uuid NOT NULL REFERENCES users,
    status text NOT NULL,
    total numeric(20, 2) NOT NULL,
    currency varchar(3) NOT NULL,
    placed_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE order_lines (
    order_id uuid NOT NULL REFERENCES orders,
    position integer NOT NULL,
    product_id uuid NOT NULL REFERENCES products,
    quantity integer NOT NULL CHECK (quantity > 0),
    unit_price numeric(20, 2) NOT NULL,
    PRIMARY KEY (order_id, position)
);
CREATE TABLE idempotency_keys (
    user_id uuid NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    order_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    payload jsonb NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    run_at timestamptz NOT NULL DEFAULT now()
);
"""


class Money(BaseModel):
    amount: Decimal
    currency: str


class Line(BaseModel):
    product_id: UUID
    quantity: Annotated[int, Field(gt=0, le=1_000)]


class PlaceOrder(BaseModel):
    lines: Annotated[list[Line], Field(min_length=1, max_length=100)]
    pay_with: Literal["card"]
    payment_method: Annotated[str, Field(min_length=1, max_length=200)]

    def fingerprint(self) -> bytes:
        """What tells a request repeated from another one under the same key."""
        return hashlib.sha256(self.model_dump_json().encode()).digest()


class OrderPlaced(BaseModel):
    order_id: UUID


class Buyer(BaseModel):
    id: UUID
    name: str
    email: str


class LineView(BaseModel):
    product_id: UUID
    product_name: str
    quantity: int
    unit_price: Money
    subtotal: Money


class OrderView(BaseModel):
    id: UUID
    status: str
    placed_at: datetime
    buyer: Buyer
    lines: list[LineView]
    item_count: int
    total: Money


class Refusal(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Orders(Protocol):
    async def place(self, buyer_id: UUID, key: str, request: PlaceOrder) -> UUID: ...

    async def read(self, caller_id: UUID, order_id: UUID) -> OrderView: ...


OpenOrders = Callable[[str], AbstractAsyncContextManager[Orders]]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Priced:
    """An order's lines with their prices, in the order of the request."""

    unit_prices: list[Decimal]
    total: Decimal
    currency: str


def require_active(active: bool | None) -> None:
    if not active:
        raise Refusal(403, "the user is not active")


def price_lines(request: PlaceOrder, products: Mapping[UUID, tuple[Decimal, str]]) -> Priced:
    unit_prices: list[Decimal] = []
    currencies: set[str] = set()
    total = Decimal("0.00")
    for line in request.lines:
        product = products.get(line.product_id)
        if product is None:
            raise Refusal(422, f"no product {line.product_id}")
        price, currency = product
        unit_prices.append(price)
        currencies.add(currency)
        total += price * line.quantity
    if len(currencies) > 1:
        raise Refusal(422, "the products' prices are in different currencies")
    return Priced(unit_prices, total, currencies.pop())


def placed_payload(order_id: UUID, buyer_id: UUID, priced: Priced) -> dict[str, str]:
    return {
        "order_id": str(order_id),
        "buyer_id": str(buyer_id),
        "total": str(priced.total),
        "currency": priced.currency,
    }


def checkout_payload(order_id: UUID, request: PlaceOrder) -> dict[str, str]:
    return {"order_id": str(order_id), "pay_with": request.pay_with, "payment_method": request.payment_method}


def same_order(order_id: UUID, kept: bytes, fingerprint: bytes) -> UUID:
    """The order that was placed under the key before."""
    if kept != fingerprint:
        raise Refusal(422, "the Idempotency-Key was used for another request")
    return order_id


def view_order(caller_id: UUID, order_id: UUID, rows: Sequence[Row]) -> OrderView:
    """An order out of its lines, each of which is joined with the order, its buyer and its product."""
    if not rows:
        raise Refusal(404, f"no order {order_id}")
    order = rows[0]
    if order["buyer_id"] != caller_id:
        raise Refusal(403, "the order is another user's")
    require_active(order["active"])
    currency = order["currency"]
    lines = [
        LineView(
            product_id=row["product_id"],
            product_name=row["product_name"],
            quantity=row["quantity"],
            unit_price=Money(amount=row["unit_price"], currency=currency),
            subtotal=Money(amount=row["unit_price"] * row["quantity"], currency=currency),
        )
        for row in rows
    ]
    return OrderView(
        id=order_id,
        status=order["status"],
        placed_at=order["placed_at"],
        buyer=Buyer(id=order["buyer_id"], name=order["buyer_name"], email=order["buyer_email"]),
        lines=lines,
        item_count=sum(line.quantity for line in lines),
        total=Money(amount=order["total"], currency=currency),
    )


def make_token(user_id: UUID) -> str:
    now = datetime.now(UTC)
    return jwt.encode({"sub": str(user_id), "iat": now, "exp": now + TOKEN_LIFETIME}, SECRET, ALGORITHM)


async def caller(authorization: Annotated[str, Header()] = "") -> UUID:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise Refusal(401, "a Bearer token is needed")
    try:
        claims = jwt.decode(token, SECRET, algorithms=[ALGORITHM], options={"require": ["sub", "exp"]})
        return UUID(claims["sub"])
    except (jwt.InvalidTokenError, ValueError):
        raise Refusal(401, "the token is not valid") from None


def create_app(store: str, open_orders: OpenOrders) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_orders(store) as orders:
            app.state.orders = orders
            yield
        await drop_tables(store)  # here, since uvicorn ends its process by the signal that it got

    app = FastAPI(title="orders", lifespan=lifespan)

    @app.exception_handler(Refusal)
    async def answer_refusal(_: Request, refusal: Refusal) -> JSONResponse:
        return JSONResponse({"detail": refusal.reason}, status_code=refusal.status)

    @app.post("/v1/orders", status_code=202)
    async def post_order(
        body: PlaceOrder,
        buyer_id: Annotated[UUID, Depends(caller)],
        idempotency_key: Annotated[str, Header(min_length=1, max_length=200)],
    ) -> OrderPlaced:
        return OrderPlaced(order_id=await app.state.orders.place(buyer_id, idempotency_key, body))

    @app.get("/v1/orders/{order_id}")
    async def get_order(order_id: UUID, caller_id: Annotated[UUID, Depends(caller)]) -> OrderView:
        return await app.state.orders.read(caller_id, order_id)

    return app


async def lay_tables(store: str, users: int, products: int) -> dict[str, list[str]]:
    """Lay the schema anew and fill it; the users' tokens and the products' ids are what a client needs."""
    connection = await asyncpg.connect(store, server_settings={"search_path": SCHEMA})
    try:
        for setting in ("fsync", "synchronous_commit"):
            if await connection.fetchval(f"SHOW {setting}") != "on":
                raise SystemExit(f"PostgreSQL's {setting} is not on")
        await connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}; {TABLES}")
        user_ids = [uuid4() for _ in range(users)]
        product_ids = [uuid4() for _ in range(products)]
        await connection.copy_records_to_table(
            "users",
            schema_name=SCHEMA,
            columns=("id", "name", "email"),
            records=[(id_, f"User {n}", f"user{n}@example.com") for n, id_ in enumerate(user_ids)],
        )
        await connection.copy_records_to_table(
            "products",
            schema_name=SCHEMA,
            records=[(id_, f"Product {n}", Decimal(100 + n) / 100, CURRENCY) for n, id_ in enumerate(product_ids)],
        )
        await connection.copy_records_to_table(
            "stock", schema_name=SCHEMA, records=[(id_, STOCK) for id_ in product_ids]
        )
        for table in ("users", "products", "stock"):
            await connection.execute(f"ANALYZE {table}")
    finally:
        await connection.close()
    return {"tokens": list(map(make_token, user_ids)), "product_ids": list(map(str, product_ids))}


async def drop_tables(store: str) -> None:
    connection = await asyncpg.connect(store)
    try:
        await connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    finally:
        await connection.close()


def serve(open_orders: OpenOrders, description: str) -> None:
    """Lay the tables, write what a client needs to `--clients`, serve until stopped, drop the tables."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--store", required=True, help="postgresql://user@host:port/db")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--clients", type=Path, required=True, help="where tokens and product ids go, as JSON")
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--products", type=int, default=1_000)
    options = parser.parse_args()
    clients = asyncio.run(lay_tables(options.store, options.users, options.products))
    options.clients.write_text(json.dumps(clients))
    uvicorn.run(
        create_app(options.store, open_orders),
        host="127.0.0.1",
        port=options.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
