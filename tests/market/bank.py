"""A bank: the ledger by itself, and what its tests ask of it."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg

from craton.application import Module, Paging
from craton.application.api import operation_of
from craton.application.command_keys import CommandKey
from craton.application.context import Context
from craton.domain import Currency, Money, Name
from craton.runtime.commands.results import Answer
from craton.runtime.module import RunningModule
from craton.testing import RunningApp, TurnedClock
from market.ledger.api import Entry, Ledger
from market.ledger.events import AccountId
from market.ledger.module import ledger
from tests.market.money import EUR
from tests.market.place import Place


class BankPlace(Place):
    """A place for a ledger."""

    def __init__(self, url: str, folder: Path, modules: Sequence[Module] = (ledger,)) -> None:
        super().__init__(url, folder, modules)

    @asynccontextmanager
    async def open(self, clock: TurnedClock | None = None, *, subscriptions: bool = True) -> AsyncIterator["Bank"]:
        """Run the ledger here, as one process would."""
        async with self.run(clock=clock, subscriptions=subscriptions) as running:
            yield Bank(running)

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


class Bank:
    """A running ledger, and what its tests ask of it."""

    def __init__(self, running: RunningApp) -> None:
        self.app = running.app
        self.clock = running.clock
        self.ledger = running.api(Ledger)
        self.settled = running.settled
        self.turn = running.turn

    @property
    def running(self) -> RunningModule:
        return self.app.running["ledger"]

    async def keyed(self, key: str, command: Callable[..., Any], **arguments: Any) -> Answer:
        """Call a command with an idempotency key, and return the answer with all that belongs to it."""
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
