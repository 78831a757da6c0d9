"""A small bank: the module that the kernel is tested with."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from msgspec.structs import replace

from craton.application import (
    Api,
    Context,
    Database,
    Index,
    Key,
    Module,
    Page,
    Paging,
    Projection,
    Repository,
    Row,
    Rows,
    Search,
    Unique,
    View,
    command,
    context,
    query,
    schedule,
    transaction,
)
from craton.application.api import operation_of
from craton.domain import Aggregate, AggregateNotFound, Conflict, Event, Id, Recorded, Value
from craton.runtime import App
from craton.runtime.commands.results import Answer

TABLES = ("CREATE TABLE IF NOT EXISTS notes (id TEXT PRIMARY KEY, body TEXT NOT NULL)",)


class AccountId(Id):
    pass


# --- domain ----------------------------------------------------------------------------------------------------------


class AccountOpened(Event):
    owner: str
    email: str


class MoneyDeposited(Event):
    amount: int
    reference: str = ""


class MoneyWithdrawn(Event):
    amount: int


class AccountNotFound(AggregateNotFound):
    pass


class InsufficientFunds(Conflict):
    """There isn't enough money."""

    balance: int


class Account(Aggregate[Id]):
    snapshot_every = 5
    not_found = AccountNotFound

    owner: str
    balance: int = 0

    def deposit(self, amount: int, reference: str = "") -> None:
        self.record(MoneyDeposited(amount=amount, reference=reference))

    def withdraw(self, amount: int) -> None:
        if amount > self.balance:
            raise InsufficientFunds(balance=self.balance)
        self.record(MoneyWithdrawn(amount=amount))

    def apply(self, event: AccountOpened | MoneyDeposited | MoneyWithdrawn) -> None:
        match event:
            case AccountOpened(owner=owner):
                self.owner = owner
            case MoneyDeposited(amount=amount):
                self.balance += amount
            case MoneyWithdrawn(amount=amount):
                self.balance -= amount


# --- read models -----------------------------------------------------------------------------------------------------


class BalanceRow(Row):
    account: Key[AccountId]
    owner: Search[str]
    balance: Index[int]
    events: int


class Balances(Projection):
    """Each account and its balance, behind the commits."""

    balances: Rows[BalanceRow]
    poison: ClassVar[set[str]] = set()
    """References of deposits that can't be projected."""

    def project(self, event: Recorded[AccountOpened | MoneyDeposited | MoneyWithdrawn]) -> None:
        account = AccountId(event.subject)
        match event.data:
            case AccountOpened(owner=owner):
                self.balances.put(BalanceRow(account=account, owner=owner, balance=0, events=1))
            case MoneyDeposited(amount=amount, reference=reference):
                if reference in self.poison:
                    raise ValueError(f"{reference} is poison")
                self._add(account, amount)
            case MoneyWithdrawn(amount=amount):
                self._add(account, -amount)

    def _add(self, account: AccountId, amount: int) -> None:
        self.balances.fold(account, by=lambda row: replace(row, balance=row.balance + amount, events=row.events + 1))


class OwnerRow(Row):
    account: Key[AccountId]
    email: Unique[str]
    deposits: int


class Owners(Projection):
    """Who owns what, and how often he has deposited: in the very commit."""

    inline = True
    owners: Rows[OwnerRow]

    def project(self, event: Recorded[AccountOpened | MoneyDeposited]) -> None:
        account = AccountId(event.subject)
        match event.data:
            case AccountOpened(email=email):
                self.owners.put(OwnerRow(account=account, email=email, deposits=0))
            case MoneyDeposited():
                self.owners.fold(account, by=lambda row: replace(row, deposits=row.deposits + 1))


# --- the front door --------------------------------------------------------------------------------------------------


class AccountState(Value):
    owner: str
    balance: int
    version: int


class Bank(Api):
    @command
    async def open(self, owner: str, email: str) -> AccountId: ...

    @command
    async def open_as(self, account: AccountId, owner: str) -> None: ...

    @command
    async def deposit(self, account: AccountId, amount: int, reference: str = "") -> int: ...

    @command
    async def deposit_often(self, account: AccountId, times: int) -> int: ...

    @command
    async def withdraw(self, account: AccountId, amount: int) -> int: ...

    @command
    async def top_up(self, account: AccountId, at_least: int) -> bool: ...

    @command
    async def transfer(self, source: AccountId, target: AccountId, amount: int) -> None: ...

    @command
    async def reward(self, account: AccountId, witness: AccountId) -> int: ...

    @command
    async def promise(self, account: AccountId, amount: int, at: datetime) -> None: ...

    @command
    async def break_down(self, account: AccountId) -> None: ...

    @command
    async def break_down_later(self, account: AccountId, at: datetime) -> None: ...

    @command
    async def note(self, id: str, account: AccountId | None = None, then: str = "") -> None: ...

    @command
    async def note_twice(self, id: str) -> None: ...

    @query
    async def state(
        self, account: AccountId, at: datetime | None = None, version: int | None = None
    ) -> AccountState: ...

    @query
    async def balance(self, account: AccountId) -> int | None: ...

    @query
    async def search(self, owner: str) -> tuple[str, ...]: ...

    @query
    async def accounts(self, paging: Paging = Paging()) -> Page[BalanceRow]: ...

    @query
    async def owner(self, account: AccountId) -> OwnerRow | None: ...

    @query
    async def notes(self) -> tuple[str, ...]: ...

    @query
    async def deposit_in_a_query(self, account: AccountId) -> int: ...

    @query
    async def record_in_a_query(self, account: AccountId) -> int: ...

    @query
    async def who_asks(self) -> tuple[str | None, str | None, str | None]: ...


class Gate:
    """Holds use cases that come by, so that a test can have something else happen in the middle of them."""

    def __init__(self) -> None:
        self.came_by = 0
        self.reached = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()

    def shut(self) -> None:
        self.reached.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def pass_through(self) -> None:
        self.came_by += 1
        self.reached.set()
        await self._open.wait()


class BankService(Bank):
    def __init__(
        self,
        accounts: Repository[Account],
        balances: View[BalanceRow],
        owners: View[OwnerRow],
        database: Database,
        bank: Bank,
        gate: Gate,
    ) -> None:
        self._accounts = accounts
        self._balances = balances
        self._owners = owners
        self._database = database
        self._bank = bank
        self._gate = gate

    async def open(self, owner: str, email: str) -> AccountId:
        account = Account.begin(AccountId.new(), AccountOpened(owner=owner, email=email))
        self._accounts.add(account)
        await self._gate.pass_through()
        return AccountId(account.id)

    async def open_as(self, account: AccountId, owner: str) -> None:
        self._accounts.add(Account.begin(account, AccountOpened(owner=owner, email=account)))

    async def deposit(self, account: AccountId, amount: int, reference: str = "") -> int:
        found = await self._accounts.get(account)
        await self._gate.pass_through()
        found.deposit(amount, reference)
        return found.balance

    async def deposit_often(self, account: AccountId, times: int) -> int:
        found = await self._accounts.get(account)
        for _ in range(times):
            found.deposit(1)
        return found.balance

    async def withdraw(self, account: AccountId, amount: int) -> int:
        found = await self._accounts.get(account)
        await self._gate.pass_through()
        found.withdraw(amount)
        return found.balance

    async def top_up(self, account: AccountId, at_least: int) -> bool:
        found = await self._accounts.get(account)
        if found.balance >= at_least:
            return False
        found.deposit(at_least - found.balance)
        return True

    async def transfer(self, source: AccountId, target: AccountId, amount: int) -> None:
        await self._bank.deposit(target, amount)
        await self._bank.withdraw(source, amount)

    async def reward(self, account: AccountId, witness: AccountId) -> int:
        winner, seen = await self._accounts.get(account), await self._accounts.get(witness)
        self._accounts.require_unchanged(seen)
        await self._gate.pass_through()
        winner.deposit(seen.balance)
        return seen.balance

    async def promise(self, account: AccountId, amount: int, at: datetime) -> None:
        schedule(at, Bank.deposit, account=account, amount=amount)

    async def break_down(self, account: AccountId) -> None:
        raise ZeroDivisionError("as the test asked")

    async def break_down_later(self, account: AccountId, at: datetime) -> None:
        schedule(at, Bank.break_down, account=account)

    async def note(self, id: str, account: AccountId | None = None, then: str = "") -> None:
        async with transaction():
            await self._insert(id)
            if account is not None:
                await self._bank.deposit(account, 1)
            if then == "nested":
                async with transaction():
                    await self._insert(f"{id} nested")
            if then == "refuse":
                raise InsufficientFunds(balance=0)
            if then == "break":
                raise ZeroDivisionError
            if then == "wait":
                await self._gate.pass_through()
        if then == "see":
            rows = await self._database.fetch("SELECT id FROM notes WHERE id = :id", id=id)
            await self._insert(f"{id} seen {len(rows)} times")

    async def note_twice(self, id: str) -> None:
        async with transaction():
            await self._insert(id)
            try:
                await self._insert(id)
            except Exception as problem:
                await self._insert(f"{id} {type(problem).__name__}")

    async def _insert(self, id: str) -> None:
        await self._database.execute("INSERT INTO notes (id, body) VALUES (:id, 'text')", id=id)

    async def state(self, account: AccountId, at: datetime | None = None, version: int | None = None) -> AccountState:
        found = await self._accounts.get(account, at=at, version=version)
        return AccountState(owner=found.owner, balance=found.balance, version=found.version)

    async def balance(self, account: AccountId) -> int | None:
        row = await self._balances.find(account)
        return row.balance if row else None

    async def search(self, owner: str) -> tuple[str, ...]:
        return tuple(row.owner for row in (await self._balances.page(contains={"owner": owner})).items)

    async def accounts(self, paging: Paging = Paging()) -> Page[BalanceRow]:
        return await self._balances.page(paging=paging)

    async def owner(self, account: AccountId) -> OwnerRow | None:
        return await self._owners.find(account)

    async def notes(self) -> tuple[str, ...]:
        return tuple(row["id"] for row in await self._database.fetch("SELECT id FROM notes ORDER BY id"))

    async def deposit_in_a_query(self, account: AccountId) -> int:
        return await self._bank.deposit(account, 1)

    async def record_in_a_query(self, account: AccountId) -> int:
        found = await self._accounts.get(account)
        found.deposit(1)
        return found.balance

    async def who_asks(self) -> tuple[str | None, str | None, str | None]:
        return context().actor, context().tenant, context().correlation


def bank(
    gate: Gate | None = None, *, projections: Sequence[type[Projection]] = (Balances, Owners), **changes: Any
) -> Module:
    """The bank's module; each app that runs it needs one of its own."""
    return Module(
        "bank",
        api=Bank,
        service=BankService,
        projections=projections,
        provides={Gate: gate or Gate()},
        tables=TABLES,
        sealed=True,
        **changes,
    )


async def ask(app: App, method: Any, /, *arguments: Any, context: Context | None = None, **named: Any) -> Answer:
    """Call an operation with a context of the caller's choice, as an adapter does."""
    operation = operation_of(method)
    return await app.call(operation, operation.bind(arguments, named), context or Context())


def reached(position: int) -> Context:
    """The context of a query that waits until views have got to a position."""
    return Context(positions={"bank": position})
