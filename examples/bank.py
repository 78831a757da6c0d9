"""A bank in one file: its rules, its contract, its read model, its use cases, its routes and the application.

`craton up examples.bank:app` serves it. A module that grows is a folder with a file for each of these parts.
"""

from craton.application import Api, Key, Module, Projection, Repository, Row, View, command, public, query
from craton.application.routes import Routes, get, post, put
from craton.domain import Aggregate, Conflict, Event, Id, Recorded
from craton.runtime import App


class AccountId(Id):
    """A UUID. The caller chooses it, so that a request which is sent twice opens one account."""


class Posted(Event):
    """An entry in an account: what came in, or, below zero, what went out. The opening entry is zero."""

    cents: int


class AmountRefused(Conflict):
    """An amount must be more than zero, and no account goes below zero."""


class Account(Aggregate[AccountId]):
    """The rules. Its state changes only by the events that it records."""

    balance: int = 0

    def post(self, cents: int, sign: int = 1) -> None:
        """Take an amount in or, with the sign -1, give it out."""
        if cents < 1 or self.balance + sign * cents < 0:
            raise AmountRefused()
        self.record(Posted(cents=sign * cents))

    def apply(self, event: Posted) -> None:
        """The only place where the state changes."""
        self.balance += event.cents


class Balance(Row):
    """A row of the read model, which is also the answer to a query."""

    account: Key[AccountId]
    cents: int


class Balances(Projection):
    """Keeps the row of each account, and builds all of them anew when `version` is raised."""

    def row(self, account: Account, event: Recorded[Event]) -> Balance:
        return Balance(account=account.id, cents=account.balance)


class Bank(Api):
    """The contract. Its annotations are the schema."""

    @command
    async def open(self, account: AccountId) -> None:
        """Open an account, empty."""

    @command
    async def deposit(self, account: AccountId, cents: int) -> None:
        """Put money in."""

    @command
    async def transfer(self, source: AccountId, target: AccountId, cents: int) -> None:
        """Move money from one account to another."""

    @query
    async def show(self, account: AccountId) -> Balance:
        """How much money is in an account."""


class BankService(Bank):
    """The use cases. Each command runs in a unit of work, which commits whole or not at all."""

    def __init__(self, accounts: Repository[Account], balances: View[Balance]) -> None:
        self._accounts, self._balances = accounts, balances

    async def open(self, account: AccountId) -> None:
        self._accounts.add(Account.begin(account, Posted(cents=0)))

    async def deposit(self, account: AccountId, cents: int) -> None:
        (await self._accounts.get(account)).post(cents)

    async def transfer(self, source: AccountId, target: AccountId, cents: int) -> None:
        (await self._accounts.get(source)).post(cents, sign=-1)
        (await self._accounts.get(target)).post(cents)

    async def show(self, account: AccountId) -> Balance:
        return await self._balances.get(account)


routes = Routes(
    put("/accounts/{account}", Bank.open, status=201, access=public),
    post("/accounts/{account}/deposits", Bank.deposit, access=public),
    post("/transfers", Bank.transfer, access=public),
    get("/accounts/{account}", Bank.show, access=public),
)
app = App("bank", modules=[Module("bank", api=Bank, service=BankService, projections=[Balances], routes=routes)])
