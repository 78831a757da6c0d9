"""The hand-written ledger: its tables, its requests and its transactions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID, uuid4

from pydantic import BaseModel, Field
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    MetaData,
    Numeric,
    String,
    func,
    select,
)
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.schema import CreateSchema, DropSchema

SCHEMA = "peer_fastapi"
POOL_SIZE = 64

Sessions = async_sessionmaker[AsyncSession]
CurrencyCode = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Amount = Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=2)]


class Base(DeclarativeBase):
    metadata = MetaData(schema=SCHEMA)


class Account(Base):
    __tablename__ = "accounts"
    __table_args__ = (CheckConstraint("balance >= 0"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    owner: Mapped[str] = mapped_column(String(200))
    currency: Mapped[str] = mapped_column(String(3))
    balance: Mapped[Decimal] = mapped_column(Numeric(20, 2), default=Decimal("0.00"))


class Entry(Base):
    """One side of a transfer, or a deposit, which has no transfer."""

    __tablename__ = "entries"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id), index=True)
    transfer_id: Mapped[UUID | None] = mapped_column(
        ForeignKey(f"{SCHEMA}.transfers.id"), index=True
    )
    amount: Mapped[Decimal] = mapped_column(Numeric(20, 2))


class Transfer(Base):
    __tablename__ = "transfers"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    source_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    target_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    amount: Mapped[Decimal] = mapped_column(Numeric(20, 2))
    currency: Mapped[str] = mapped_column(String(3))
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )
    entries: Mapped[list[Entry]] = relationship()


class Money(BaseModel):
    amount: Amount
    currency: CurrencyCode


class OpenAccount(BaseModel):
    owner: Annotated[str, Field(min_length=1, max_length=200)]
    currency: CurrencyCode


class Deposit(BaseModel):
    money: Money


class TransferMoney(BaseModel):
    source: UUID
    target: UUID
    money: Money


class Created(BaseModel):
    id: UUID


class AccountState(BaseModel):
    id: UUID
    owner: str
    currency: str
    balance: Decimal


class Refusal(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


async def lock_accounts(session: AsyncSession, *account_ids: UUID) -> dict[UUID, Account]:
    """Lock the rows in the order of their ids, so that no two callers deadlock."""
    rows = await session.scalars(
        select(Account)
        .where(Account.id.in_(account_ids))
        .order_by(Account.id)
        .with_for_update()
    )
    accounts = {account.id: account for account in rows}
    for account_id in account_ids:
        if account_id not in accounts:
            raise Refusal(404, f"no account {account_id}")
    return accounts


def require_currency(account: Account, money: Money) -> None:
    if account.currency != money.currency:
        raise Refusal(409, f"account {account.id} is in {account.currency}")


async def open_account(sessions: Sessions, request: OpenAccount) -> UUID:
    account = Account(owner=request.owner, currency=request.currency)
    async with sessions.begin() as session:
        session.add(account)
    return account.id


async def deposit(sessions: Sessions, account_id: UUID, money: Money) -> None:
    async with sessions.begin() as session:
        account = (await lock_accounts(session, account_id))[account_id]
        require_currency(account, money)
        account.balance += money.amount
        session.add(Entry(account_id=account_id, amount=money.amount))


async def transfer(sessions: Sessions, request: TransferMoney) -> UUID:
    money = request.money
    if request.source == request.target:
        raise Refusal(422, "source and target are the same account")
    async with sessions.begin() as session:
        accounts = await lock_accounts(session, request.source, request.target)
        source, target = accounts[request.source], accounts[request.target]
        require_currency(source, money)
        require_currency(target, money)
        if source.balance < money.amount:
            raise Refusal(409, "not enough money")
        source.balance -= money.amount
        target.balance += money.amount
        made = Transfer(
            source_id=source.id,
            target_id=target.id,
            amount=money.amount,
            currency=money.currency,
            entries=[
                Entry(account_id=source.id, amount=-money.amount),
                Entry(account_id=target.id, amount=money.amount),
            ],
        )
        session.add(made)
    return made.id


async def read_account(sessions: Sessions, account_id: UUID) -> AccountState:
    async with sessions() as session:
        account = await session.get(Account, account_id)
    if account is None:
        raise Refusal(404, f"no account {account_id}")
    return AccountState(
        id=account.id,
        owner=account.owner,
        currency=account.currency,
        balance=account.balance,
    )


@asynccontextmanager
async def open_engine(store: str) -> AsyncIterator[AsyncEngine]:
    """Connect, and lay the peer's own schema anew."""
    scheme, separator, rest = store.partition("://")
    if scheme != "postgresql":
        raise SystemExit(f"not a PostgreSQL store: {store}")
    engine = create_async_engine(
        f"postgresql+asyncpg{separator}{rest}", pool_size=POOL_SIZE, max_overflow=0
    )
    try:
        async with engine.begin() as connection:
            await connection.execute(DropSchema(SCHEMA, cascade=True, if_exists=True))
            await connection.execute(CreateSchema(SCHEMA))
            await connection.run_sync(Base.metadata.create_all)
        yield engine
    finally:
        await engine.dispose()


def make_sessions(engine: AsyncEngine) -> Sessions:
    return async_sessionmaker(engine, expire_on_commit=False)
