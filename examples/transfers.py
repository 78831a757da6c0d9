"""The transfer of a classical service: two accounts, a log of transfers, one transaction, on each database.

`craton up examples.transfers:app` serves it. The tables are in the store, or in MariaDB if `CRATON_TRANSFERS_DATABASE`
says where.
"""

from typing import Annotated

from msgspec import Meta

from craton.adapters.mariadb import MariaDbTables
from craton.application import Api, Database, Module, Settings, command, public, query, transaction
from craton.application.routes import Routes, get, post, put
from craton.domain import Conflict, Id, InvalidValue, NotFound, Secret, Value
from craton.ports import Store
from craton.runtime import App

TABLES = (
    "CREATE TABLE IF NOT EXISTS accounts (id VARCHAR(36) NOT NULL PRIMARY KEY, cents BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS transfers (id VARCHAR(36) NOT NULL PRIMARY KEY, source VARCHAR(36) NOT NULL,"
    " target VARCHAR(36) NOT NULL, cents BIGINT NOT NULL)",
)

Cents = Annotated[int, Meta(ge=1, le=10**12)]


class AccountId(Id):
    pass


class TransferId(Id):
    pass


class AccountNotFound(NotFound):
    """There is no such account."""

    account: AccountId


class TooLittleMoney(Conflict):
    """The account doesn't hold so much."""


class ToItself(InvalidValue):
    """Source and target are the same account."""


class Account(Value):
    id: AccountId
    cents: int


class Transfers(Api):
    @command
    async def open(self, account: AccountId, cents: Cents) -> None:
        """Open an account that holds an amount."""

    @command
    async def transfer(self, source: AccountId, target: AccountId, cents: Cents) -> TransferId:
        """Move an amount, and write down that it was moved: both or neither."""

    @query
    async def account(self, account: AccountId) -> Account:
        """An account."""


class TransfersService(Transfers):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, account: AccountId, cents: Cents) -> None:
        await self._database.execute("INSERT INTO accounts (id, cents) VALUES (:id, :cents)", id=account, cents=cents)

    async def transfer(self, source: AccountId, target: AccountId, cents: Cents) -> TransferId:
        if source == target:
            raise ToItself()
        id = TransferId.new()
        async with transaction():
            await self.account(source)
            if not await self._add(source, -cents):
                raise TooLittleMoney()
            if not await self._add(target, cents):
                raise AccountNotFound(account=target)
            await self._database.execute(
                "INSERT INTO transfers (id, source, target, cents) VALUES (:id, :source, :target, :cents)",
                id=id,
                source=source,
                target=target,
                cents=cents,
            )
        return id

    async def account(self, account: AccountId) -> Account:
        found = await self._database.fetch_as(Account, "SELECT id, cents FROM accounts WHERE id = :id", id=account)
        if not found:
            raise AccountNotFound(account=account)
        return found[0]

    async def _add(self, account: AccountId, cents: int) -> bool:
        """Add an amount, unless the account would go below zero. Returns whether it was added."""
        changed = await self._database.execute(
            "UPDATE accounts SET cents = cents + :cents WHERE id = :id AND cents + :cents >= 0", id=account, cents=cents
        )
        return changed == 1


class TransfersSettings(Settings):
    database: Annotated[Secret | None, Meta(description="a mysql:// URL; without one, the store")] = None


def choose_database(store: Store, settings: TransfersSettings) -> Store:
    return store if settings.database is None else MariaDbTables(store, settings.database.reveal())


routes = Routes(
    put("/accounts/{account}", Transfers.open, status=201, access=public),
    get("/accounts/{account}", Transfers.account, access=public),
    post("/transfers", Transfers.transfer, status=201, access=public),
)

transfers = Module(
    "transfers",
    api=Transfers,
    service=TransfersService,
    routes=routes,
    settings=TransfersSettings,
    tables=TABLES,
    database=choose_database,
)

app = App("transfers", modules=[transfers])
