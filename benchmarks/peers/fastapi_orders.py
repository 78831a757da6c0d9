"""Hand-written orders on FastAPI, SQLAlchemy's async ORM and asyncpg."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    BigInteger,
    DateTime,
    ForeignKey,
    Identity,
    MetaData,
    Numeric,
    String,
    Text,
    bindparam,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

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


class Base(DeclarativeBase):
    metadata = MetaData(schema=SCHEMA)
    type_annotation_map = {
        str: Text,
        Decimal: Numeric(20, 2),
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
    }


class User(Base):
    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str]
    email: Mapped[str] = mapped_column(unique=True)
    active: Mapped[bool] = mapped_column(default=True)


class Product(Base):
    __tablename__ = "products"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str]
    price: Mapped[Decimal]
    currency: Mapped[str] = mapped_column(String(3))


class OrderLine(Base):
    __tablename__ = "order_lines"

    order_id: Mapped[UUID] = mapped_column(ForeignKey(f"{SCHEMA}.orders.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[UUID] = mapped_column(ForeignKey(Product.id))
    quantity: Mapped[int]
    unit_price: Mapped[Decimal]


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    buyer_id: Mapped[UUID] = mapped_column(ForeignKey(User.id))
    status: Mapped[str]
    total: Mapped[Decimal]
    currency: Mapped[str] = mapped_column(String(3))
    placed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    lines: Mapped[list[OrderLine]] = relationship(order_by=OrderLine.position)


class IdempotencyKey(Base):
    __tablename__ = "idempotency_keys"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    order_id: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class OutboxMessage(Base):
    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    topic: Mapped[str]
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Job(Base):
    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    kind: Mapped[str]
    payload: Mapped[dict[str, Any]]
    attempts: Mapped[int] = mapped_column(default=0)
    run_at: Mapped[datetime] = mapped_column(server_default=func.now())


# Statements are built once; SQLAlchemy keeps what they compile to, asyncpg what they are prepared to.
READ_ACTIVE = select(User.active).where(User.id == bindparam("user_id"))
READ_PRICES = select(Product.id, Product.price, Product.currency).where(
    Product.id.in_(bindparam("product_ids", expanding=True))
)
CLAIM = insert(IdempotencyKey).on_conflict_do_nothing().returning(IdempotencyKey.order_id)
READ_ORDER = (
    select(
        Order.buyer_id,
        Order.status,
        Order.total,
        Order.currency,
        Order.placed_at,
        User.name.label("buyer_name"),
        User.email.label("buyer_email"),
        User.active,
        OrderLine.product_id,
        Product.name.label("product_name"),
        OrderLine.quantity,
        OrderLine.unit_price,
    )
    .join(User, User.id == Order.buyer_id)
    .join(Order.lines)
    .join(Product, Product.id == OrderLine.product_id)
    .where(Order.id == bindparam("order_id"))
    .order_by(OrderLine.position)
)


async def claim(session: AsyncSession, user_id: UUID, key: str, fingerprint: bytes, order_id: UUID) -> UUID:
    """Take the key for this order; the order it was taken for, when it was before."""
    values = {"user_id": user_id, "key": key, "fingerprint": fingerprint, "order_id": order_id}
    claimed = await session.scalar(CLAIM, values)
    if claimed is not None:
        return claimed
    kept = await session.get_one(IdempotencyKey, (user_id, key))
    return same_order(kept.order_id, kept.fingerprint, fingerprint)


class SqlAlchemyOrders:
    def __init__(self, engine: AsyncEngine) -> None:
        self._writing = async_sessionmaker(engine, expire_on_commit=False)
        # One statement needs no BEGIN and no ROLLBACK around it.
        self._reading = async_sessionmaker(engine.execution_options(isolation_level="AUTOCOMMIT"))

    async def place(self, buyer_id: UUID, key: str, request: PlaceOrder) -> UUID:
        product_ids = [line.product_id for line in request.lines]
        async with self._writing.begin() as session:
            require_active(await session.scalar(READ_ACTIVE, {"user_id": buyer_id}))
            products = await session.execute(READ_PRICES, {"product_ids": product_ids})
            priced = price_lines(request, {id_: (price, currency) for id_, price, currency in products})
            order_id = uuid4()
            claimed_for = await claim(session, buyer_id, key, request.fingerprint(), order_id)
            if claimed_for != order_id:
                return claimed_for
            lines = [
                OrderLine(position=position, product_id=line.product_id, quantity=line.quantity, unit_price=unit_price)
                for position, (line, unit_price) in enumerate(zip(request.lines, priced.unit_prices, strict=True), 1)
            ]
            order = Order(
                id=order_id,
                buyer_id=buyer_id,
                status="pending",
                total=priced.total,
                currency=priced.currency,
                lines=lines,
            )
            message = OutboxMessage(topic="order-placed", payload=placed_payload(order_id, buyer_id, priced))
            session.add_all([order, message])
            await self.also(session, order, request)
        return order_id

    async def also(self, session: AsyncSession, order: Order, request: PlaceOrder) -> None:
        """Write down, in the transaction of a new order, what is to be done later."""
        session.add(Job(kind="checkout", payload=checkout_payload(order.id, request)))

    async def read(self, caller_id: UUID, order_id: UUID) -> OrderView:
        async with self._reading() as session:
            rows = (await session.execute(READ_ORDER, {"order_id": order_id})).mappings().all()
        return view_order(caller_id, order_id, rows)


@asynccontextmanager
async def open_orders(store: str) -> AsyncIterator[SqlAlchemyOrders]:
    scheme, separator, rest = store.partition("://")
    if scheme != "postgresql":
        raise SystemExit(f"not a PostgreSQL store: {store}")
    engine = create_async_engine(f"postgresql+asyncpg{separator}{rest}", pool_size=POOL_SIZE, max_overflow=0)
    try:
        yield SqlAlchemyOrders(engine)
    finally:
        await engine.dispose()


if __name__ == "__main__":
    serve(open_orders, __doc__)
