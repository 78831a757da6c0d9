"""Hand-written orders on FastAPI and asyncpg alone: SQL written by hand, each request in as few round trips as may be.

asyncpg prepares each statement once per connection and keeps it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg

from orders_service import (
    POOL_SIZE,
    SCHEMA,
    OrderView,
    PlaceOrder,
    checkout_payload,
    placed_payload,
    price_lines,
    require_active,
    same_order,
    serve,
    view_order,
)

READ_ACTIVE = "SELECT active FROM users WHERE id = $1"

READ_PRICES = "SELECT id, price, currency FROM products WHERE id = ANY($1)"

# One statement is one transaction. A key that is taken claims nothing, and what claims nothing writes nothing.
PLACE = """
WITH claimed AS (
    INSERT INTO idempotency_keys (user_id, key, fingerprint, order_id)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING
    RETURNING user_id, order_id
), placed AS (
    INSERT INTO orders (id, buyer_id, status, total, currency)
    SELECT order_id, user_id, 'pending', $5::numeric, $6::text FROM claimed
), listed AS (
    INSERT INTO order_lines (order_id, position, product_id, quantity, unit_price)
    SELECT order_id, position, product_id, quantity, unit_price
    FROM claimed, unnest($7::uuid[], $8::integer[], $9::numeric[])
        WITH ORDINALITY AS line (product_id, quantity, unit_price, position)
), announced AS (
    INSERT INTO outbox (topic, payload) SELECT 'order-placed', $10::jsonb FROM claimed
), queued AS (
    INSERT INTO jobs (kind, payload) SELECT 'checkout', $11::jsonb FROM claimed
)
SELECT order_id FROM claimed
"""

READ_KEY = "SELECT order_id, fingerprint FROM idempotency_keys WHERE user_id = $1 AND key = $2"

READ_ORDER = """
SELECT orders.buyer_id, orders.status, orders.total, orders.currency, orders.placed_at,
    users.name AS buyer_name, users.email AS buyer_email, users.active,
    order_lines.product_id, products.name AS product_name, order_lines.quantity, order_lines.unit_price
FROM orders
JOIN users ON users.id = orders.buyer_id
JOIN order_lines ON order_lines.order_id = orders.id
JOIN products ON products.id = order_lines.product_id
WHERE orders.id = $1
ORDER BY order_lines.position
"""


class AsyncpgOrders:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def place(self, buyer_id: UUID, key: str, request: PlaceOrder) -> UUID:
        product_ids = [line.product_id for line in request.lines]
        quantities = [line.quantity for line in request.lines]
        async with self._pool.acquire() as connection:
            require_active(await connection.fetchval(READ_ACTIVE, buyer_id))
            products = await connection.fetch(READ_PRICES, product_ids)
            priced = price_lines(request, {id_: (price, currency) for id_, price, currency in products})
            order_id = uuid4()
            fingerprint = request.fingerprint()
            claimed = await connection.fetchval(
                PLACE,
                buyer_id,
                key,
                fingerprint,
                order_id,
                priced.total,
                priced.currency,
                product_ids,
                quantities,
                priced.unit_prices,
                json.dumps(placed_payload(order_id, buyer_id, priced)),
                json.dumps(checkout_payload(order_id, request)),
            )
            if claimed is not None:
                return order_id
            kept = await connection.fetchrow(READ_KEY, buyer_id, key)
        return same_order(kept["order_id"], kept["fingerprint"], fingerprint)

    async def read(self, caller_id: UUID, order_id: UUID) -> OrderView:
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(READ_ORDER, order_id)
        return view_order(caller_id, order_id, rows)


async def leave_as_is(_: asyncpg.Connection) -> None:
    """Nothing here changes a session's state, so a connection goes back to the pool without a round trip."""


@asynccontextmanager
async def open_orders(store: str) -> AsyncIterator[AsyncpgOrders]:
    async with asyncpg.create_pool(
        store, min_size=POOL_SIZE, max_size=POOL_SIZE, server_settings={"search_path": SCHEMA}, reset=leave_as_is
    ) as pool:
        yield AsyncpgOrders(pool)


if __name__ == "__main__":
    serve(open_orders, __doc__.splitlines()[0])
