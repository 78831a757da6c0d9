"""A place for a ledger's data, and a bank: the ledger as the tests use it."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec

from craton.adapters.stores import stores
from craton.application import Paging
from craton.application.api import OperationDefinition, operation_of
from craton.application.command_keys import CommandKey
from craton.application.context import Context, context_var
from craton.domain import Currency, DomainError, Money, Name
from craton.domain.world import now
from craton.runtime import App
from craton.runtime.commands.calls import proxy
from craton.runtime.commands.results import Answer
from craton.runtime.module import RunningModule
from market.ledger.api import Entry, Ledger
from market.ledger.events import AccountId
from market.ledger.module import ledger

EUR, JPY, USD = Currency("EUR"), Currency("JPY"), Currency("USD")


def eur(amount: str) -> Money:
    return Money.of(amount, "EUR")


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> datetime:
        self.time += timedelta(seconds=seconds)
        return self.time


class Place:
    """Where the data of one test lives: a folder, or a schema of its own in Postgres."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.name = f"market_{uuid4().hex[:12]}"

    def app(self, clock: Callable[[], datetime] = now) -> App:
        return App(self.name, modules=[ledger], copied_calls=True, clock=clock)

    @asynccontextmanager
    async def open(self, clock: Callable[[], datetime] = now, *, subscriptions: bool = True) -> AsyncIterator["Bank"]:
        """Run the ledger here, as one process would."""
        app = self.app(clock)
        async with app.run(stores(self.url, self.folder, self.name), subscriptions=subscriptions):
            yield Bank(app)

    async def sql(self, statement: str) -> None:
        """Change the data behind the ledger's back."""
        if self.url == "sqlite":
            with contextlib.closing(sqlite3.connect(self.folder / "ledger.db")) as connection, connection:
                assert connection.execute(statement).rowcount != 0, "the statement has changed nothing"
            return
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(f"SET search_path = {self.name}_ledger")
            status = await connection.execute(statement)
            assert not status.endswith(" 0"), "the statement has changed nothing"
        finally:
            await connection.close()

    async def drop(self) -> None:
        await self.drop_schema("ledger")

    async def drop_schema(self, module: str) -> None:
        if self.url == "sqlite":
            return
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(f"DROP SCHEMA IF EXISTS {self.name}_{module} CASCADE")
        finally:
            await connection.close()


class Bank:
    """A running ledger whose queries see all that was committed before they were asked."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._api = app.api(Ledger)
        self.ledger = proxy(Ledger, self._call)

    @property
    def running(self) -> RunningModule:
        return self.app.running["ledger"]

    async def _call(self, operation: OperationDefinition, arguments: dict[str, Any], context: Context) -> Answer:
        if operation.kind == "query":
            context = msgspec.structs.replace(context, positions={"ledger": await self.running.store.head()})
        token = context_var.set(context)
        try:
            return Answer(await getattr(self._api, operation.name)(**arguments))
        finally:
            context_var.reset(token)

    async def keyed(self, key: str, command: Callable[..., Any], **arguments: Any) -> Answer:
        """Call a command with an idempotency key."""
        return await self.app.call(
            operation_of(command), operation_of(command).bind((), arguments), Context(key=CommandKey(key), actor="ada")
        )

    async def open(self, balance: str = "0", currency: Currency = EUR, owner: str = "Ada") -> AccountId:
        """Open an account with a balance."""
        account = await self.ledger.open_account(Name(owner), currency)
        money = Money.of(balance, str(currency))
        if money:
            await self.ledger.deposit(account, money)
        return account

    async def balance(self, account: AccountId) -> Money:
        return (await self.ledger.account(account)).balance

    async def statement(self, account: AccountId) -> list[Entry]:
        """All entries of an account, the oldest first."""
        entries: list[Entry] = []
        page = 1
        while True:
            found = await self.ledger.entries(account, paging=Paging(page, 100))
            entries += found.items
            if page >= found.total_pages:
                return entries[::-1]
            page += 1

    async def differences(self, at: datetime | None = None) -> dict[str, Money]:
        """What debits and credits differ by, per currency."""
        return {line.currency: line.difference for line in (await self.ledger.trial_balance(at=at)).lines}

    async def problems(self) -> list[str]:
        """What `craton verify` would say."""
        return [problem async for problem in self.running.verify()]

    async def settled(self) -> None:
        """Wait until all projections and the seals have caught up."""

        async def caught_up() -> bool:
            head = await self.running.store.head()
            lags = [(await projection.progress()).lag for projection in self.running.projections.values()]
            return not any(lags) and await self.running.store.checkpoint("seals") >= head

        await until(caught_up)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 300) -> None:
    """Wait for something that must come to pass."""
    async with asyncio.timeout(seconds):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


async def code_of(call: Awaitable[Any]) -> str:
    """The code with which a call is refused, "" if it isn't."""
    try:
        await call
    except DomainError as refusal:
        return refusal.code
    return ""
