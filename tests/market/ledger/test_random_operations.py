"""Ten thousand random operations: the answers match what happened, and everything adds up to zero."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable

from craton.domain import DomainError, Money
from craton.testing import TurnedClock
from market.ledger.api import Ledger, TransferOrder
from market.ledger.events import AccountId, TransferId
from tests.market.bank import Bank
from tests.market.money import EUR, JPY, USD

OPERATIONS = 10_000
CALLERS = 64
EXPECTED_REFUSALS = {
    "insufficient-funds",
    "currency-mismatch",
    "same-account",
    "hold-resolved",
    "hold-exceeded",
}


class Chaos:
    """Callers that do random things, and the balances that follow from the answers they got."""

    def __init__(self, bank: Bank, seed: int) -> None:
        self.bank = bank
        self.random = random.Random(seed)
        self.accounts: dict[AccountId, Money] = {}
        self.held: defaultdict[AccountId, int] = defaultdict(int)
        self.holds: dict[TransferId, tuple[AccountId, AccountId, Money]] = {}
        self.resolved: set[TransferId] = set()
        self.refusals: Counter[str] = Counter()

    async def open_accounts(self) -> None:
        for currency in (EUR, EUR, EUR, EUR, JPY, JPY, USD, USD):
            account = await self.bank.open(currency=currency)
            self.accounts[account] = Money.zero(currency)

    async def run(self, operations: int) -> None:
        each = operations // CALLERS + 1
        await asyncio.gather(*(self.caller(each) for _ in range(CALLERS)))

    async def caller(self, operations: int) -> None:
        choices = (self.deposit, self.withdraw, self.transfer, self.batch, self.hold, self.post, self.void)
        weights = (4, 2, 6, 1, 2, 1, 1)
        for _ in range(operations):
            (choice,) = self.random.choices(choices, weights)
            await self.attempt(choice)

    async def attempt(self, choice: Callable[[], Awaitable[None]]) -> None:
        try:
            await choice()
        except DomainError as refusal:
            self.refusals[refusal.code] += 1

    def money(self, account: AccountId) -> Money:
        return Money(self.random.randint(1, 2_000), self.accounts[account].currency)

    def pair(self) -> tuple[AccountId, AccountId]:
        source, target = self.random.choices(list(self.accounts), k=2)
        return source, target

    def moved(self, source: AccountId, target: AccountId, money: Money) -> None:
        self.accounts[source] -= money
        self.accounts[target] += money

    async def deposit(self) -> None:
        account, _ = self.pair()
        money = self.money(account)
        await self.bank.ledger.deposit(account, money)
        self.accounts[account] += money

    async def withdraw(self) -> None:
        account, _ = self.pair()
        money = self.money(account)
        await self.bank.ledger.withdraw(account, money)
        self.accounts[account] -= money

    async def transfer(self) -> None:
        source, target = self.pair()
        money = self.money(source)
        await self.bank.ledger.transfer(source, target, money)
        self.moved(source, target, money)

    async def batch(self) -> None:
        pairs = [self.pair() for _ in range(3)]
        orders = tuple(
            TransferOrder(source=source, target=target, money=self.money(source)) for source, target in pairs
        )
        results = await self.bank.ledger.transfer_batch(orders, atomic=False)
        for order, result in zip(orders, results, strict=True):
            if result.id is not None:
                self.moved(order.source, order.target, order.money)

    async def hold(self) -> None:
        source, target = self.pair()
        money = self.money(source)
        id = await self.bank.ledger.transfer(source, target, money, pending=True)
        self.holds[id] = source, target, money
        self.held[source] += money.minor

    async def post(self) -> None:
        if self.holds:
            id = self.random.choice(list(self.holds))
            source, target, money = self.holds[id]
            less = Money(self.random.randint(1, money.minor), money.currency)
            await self.bank.ledger.post_transfer(id, less)
            self.resolve(id)
            self.moved(source, target, less)

    async def void(self) -> None:
        if self.holds:
            id = self.random.choice(list(self.holds))
            await self.bank.ledger.void_transfer(id)
            self.resolve(id)

    def resolve(self, id: TransferId) -> None:
        assert id not in self.resolved, "a hold was resolved twice"
        self.resolved.add(id)
        source, _, money = self.holds[id]
        self.held[source] -= money.minor


async def test_ten_thousand_random_operations_add_up_to_zero_now_and_at_past_times(
    timed_bank: Bank, clock: TurnedClock
) -> None:
    bank = timed_bank
    chaos = Chaos(bank, seed=20260131)
    await chaos.open_accounts()
    await chaos.run(OPERATIONS // 2)
    await bank.settled()
    then, balances_then = clock.time, dict(chaos.accounts)
    clock.turn(seconds=1)
    await chaos.run(OPERATIONS // 2)
    await bank.settled()

    assert set(chaos.refusals) <= EXPECTED_REFUSALS
    for account, balance in chaos.accounts.items():
        state = await bank.ledger.account(account)
        assert (state.balance, state.held.minor) == (balance, chaos.held[account])
        assert state.available.minor >= 0
        assert (await bank.ledger.account(account, at=then)).balance == balances_then[account]
    for at in (None, then):
        differences = await bank.differences(at)
        assert set(differences) == {"EUR", "JPY", "USD"}
        assert not any(differences.values())
    assert await bank.problems() == []


async def test_accounts_shown_during_the_operations_never_step_back(bank: Bank) -> None:
    chaos = Chaos(bank, seed=7)
    await chaos.open_accounts()
    await bank.settled()
    unhurried = bank.app.api(Ledger)  # its queries don't wait for the views
    seen: list[tuple[AccountId, int]] = []

    async def watch() -> None:
        while True:
            for account in chaos.accounts:
                seen.append((account, (await unhurried.account(account)).version))
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    await chaos.run(1_000)
    watching.cancel()
    await asyncio.wait([watching])
    assert watching.cancelled()
    last: dict[AccountId, int] = {}
    for account, version in seen:
        assert version >= last.get(account, 0), "a view has stepped back"
        last[account] = version
