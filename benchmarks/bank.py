"""The small bank that the benchmarks run: accounts that count in cents, and a row with the balance of each."""

from collections.abc import Iterator
from datetime import UTC, datetime

from craton.application import Api, Column, Key, Module, Projection, Repository, Row, Rows, View, command, query
from craton.application.codec import encode_text
from craton.domain import Aggregate, Currency, Event, Id, Metadata, Name, Recorded, uuid7
from craton.ports import Append, Changeset, ChangesetRefused, Fence, FenceLost, NewEvent, Store

ACCOUNTS = 1_000
BULK_DEPOSITS = 5  # to each account in one unit
DEAD_AFTER = 100


class AccountId(Id):
    pass


class Opened(Event):
    owner: Name
    currency: Currency


class Deposited(Event):
    amount: int


class Account(Aggregate[AccountId]):
    owner: Name
    currency: Currency
    balance: int = 0

    def deposit(self, amount: int) -> None:
        if amount <= 0:
            raise ValueError("a deposit must be positive")
        self.record(Deposited(amount=amount))

    def apply(self, event: Opened | Deposited) -> None:
        match event:
            case Opened(owner=owner, currency=currency):
                self.owner, self.currency = owner, currency
            case Deposited(amount=amount):
                self.balance += amount


class BalanceRow(Row):
    account: Key[AccountId]
    balance: Column[int]


class Balances(Projection):
    accounts: Rows[BalanceRow]

    def project(self, event: Recorded[Opened | Deposited]) -> None:
        account = AccountId(event.subject)
        match event.data:
            case Opened():
                self.accounts.put(BalanceRow(account=account, balance=0))
            case Deposited(amount=amount):
                self.accounts.fold(account, by=lambda row: BalanceRow(account=account, balance=row.balance + amount))


class Bank(Api):
    @command
    async def open_account(self, owner: Name, currency: Currency) -> AccountId:
        """Open an account, empty."""

    @command
    async def deposit(self, account: AccountId, amount: int) -> None:
        """Put money in."""

    @query
    async def total(self) -> int:
        """What all accounts hold."""


class BankService(Bank):
    def __init__(self, accounts: Repository[Account], balances: View[BalanceRow]) -> None:
        self._accounts = accounts
        self._balances = balances

    async def open_account(self, owner: Name, currency: Currency) -> AccountId:
        account = Account.begin(AccountId.new(), Opened(owner=owner, currency=currency))
        self._accounts.add(account)
        return account.id

    async def deposit(self, account: AccountId, amount: int) -> None:
        (await self._accounts.get(account)).deposit(amount)

    async def total(self) -> int:
        """All balances added up."""
        return (await self._balances.sum("balance")).get((), 0)


bank = Module("bank", api=Bank, service=BankService, projections=[Balances])


async def record(store: Store, total: int, *, dead: bool = False) -> int:
    """Write `total` events in bulk, spread evenly over new accounts; return how many are deposits of 1.

    `dead`: after every hundred events the store refuses ten, whose positions stay without an event, as if their
    transactions had been rolled back.
    """
    ids = [AccountId.new() for _ in range(min(ACCOUNTS, total))]
    opened = Opened(owner=Name("owner"), currency=Currency("EUR"))
    await _write(store, Changeset(appends=[_append(id, 0, opened) for id in ids]))
    deposits = total - len(ids)
    for unit in _deposits(ids, deposits):
        if not dead:
            await _write(store, unit)
            continue
        for first in range(0, len(unit.appends), DEAD_AFTER // BULK_DEPOSITS):
            await _write(store, Changeset(appends=unit.appends[first : first + DEAD_AFTER // BULK_DEPOSITS]))
            await _refuse(store)
    return deposits


def _deposits(ids: list[AccountId], count: int) -> Iterator[Changeset]:
    versions = dict.fromkeys(ids, 1)
    for start in range(0, count, len(ids) * BULK_DEPOSITS):
        now = min(count - start, len(ids) * BULK_DEPOSITS)
        appends = []
        for place, id in enumerate(ids[:now]):
            events = [Deposited(amount=1)] * len(range(place, now, len(ids)))
            appends.append(_append(id, versions[id], *events))
            versions[id] += len(events)
        yield Changeset(appends=appends)


def _append(id: AccountId, version: int, *events: Event) -> Append:
    stream = f"{Account.stream_prefix}-{id}"
    request = uuid7()
    metadata = encode_text(Metadata(correlation=request, causation=request))
    time = datetime.now(UTC)
    new = [
        NewEvent(stream, number, uuid7(), type(event).__name__, 1, encode_text(event), metadata, time)
        for number, event in enumerate(events, version + 1)
    ]
    return Append(stream, version, new)


async def _refuse(store: Store) -> None:
    """Have events refused after they were given positions: their writer doesn't hold the lease that it names."""
    append = _append(AccountId.new(), 0, *[Deposited(amount=1)] * (DEAD_AFTER // 10))
    (outcome,) = await store.write([Changeset(appends=[append], fence=Fence("nobody's", 1))])
    if not isinstance(outcome, FenceLost):
        raise TypeError(f"the events were to be refused; the store answered {outcome!r}")


async def _write(store: Store, unit: Changeset) -> None:
    (outcome,) = await store.write([unit])
    if isinstance(outcome, ChangesetRefused):
        raise outcome
