"""Memory is a hint: whatever another process has done meanwhile, decisions, refusals and no-ops are right."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from craton.ports import Changeset, Store
from craton.runtime import App
from tests.kernel.bank import AccountId, Bank, Gate, InsufficientFunds


@pytest.fixture
async def account(api: Bank, other: Bank) -> AccountId:
    """An account with 10 that the first app has in memory, and the second has changed since."""
    account = await api.open("Ann", "ann@example.org")
    await api.deposit(account, 10)
    return account


class TestWhenAnotherProcessHasChangedIt:
    async def test_a_decision_is_made_on_what_is_there_now(self, api: Bank, other: Bank, account: AccountId) -> None:
        await other.withdraw(account, 4)

        assert await api.deposit(account, 1) == 7

    async def test_a_refusal_is_right(self, api: Bank, other: Bank, account: AccountId) -> None:
        await other.withdraw(account, 4)

        with pytest.raises(InsufficientFunds) as refusal:
            await api.withdraw(account, 8)

        assert refusal.value.balance == 6

    async def test_what_memory_would_refuse_succeeds(self, api: Bank, other: Bank, account: AccountId) -> None:
        await other.deposit(account, 90)

        assert await api.withdraw(account, 95) == 5

    async def test_a_refusal_from_memory_names_the_newest_state(
        self, api: Bank, other: Bank, account: AccountId
    ) -> None:
        await other.deposit(account, 5)

        with pytest.raises(InsufficientFunds) as refusal:
            await api.withdraw(account, 100)

        assert refusal.value.balance == 15

    async def test_a_no_op_is_decided_on_the_present_state(self, api: Bank, other: Bank, account: AccountId) -> None:
        await other.withdraw(account, 4)

        assert await api.top_up(account, 10)

        assert (await other.state(account)).balance == 10

    async def test_a_change_that_another_process_has_made_already_is_not_repeated(
        self, api: Bank, other: Bank, account: AccountId
    ) -> None:
        await other.deposit(account, 90)

        assert not await api.top_up(account, 50)

        assert (await other.state(account)).version == 3

    async def test_a_query_shows_what_is_there_now(self, api: Bank, other: Bank, account: AccountId) -> None:
        await other.deposit(account, 1)

        assert (await api.state(account)).balance == 11

    async def test_taking_turns_is_always_right(self, api: Bank, other: Bank, account: AccountId) -> None:
        expected = 10
        for n in range(12):
            expected += n
            assert await (api, other)[n % 2].deposit(account, n) == expected

    async def test_refusals_amid_many_deposits_are_right(self, api: Bank, other: Bank, account: AccountId) -> None:
        await other.withdraw(account, 10)

        outcomes = await asyncio.gather(
            api.withdraw(account, 1_000),
            *(api.deposit(account, 1) for _ in range(20)),
            api.withdraw(account, 1_000),
            *(other.deposit(account, 1) for _ in range(20)),
            return_exceptions=True,
        )

        refusals = [outcome for outcome in outcomes if isinstance(outcome, InsufficientFunds)]
        assert len(refusals) == 2
        assert all(0 <= refusal.balance <= 40 for refusal in refusals)
        assert (await api.state(account)).balance == 40


class HeldWriter:
    """Holds the next batch of a store back until it is let go."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.holding = asyncio.Event()
        self._go = asyncio.Event()
        self._write = store.write
        monkeypatch.setattr(store, "write", self._hold)

    def let_go(self) -> None:
        self._go.set()

    async def _hold(self, units: Sequence[Changeset]) -> Any:
        self.holding.set()
        await self._go.wait()
        return await self._write(units)


class TestWhatWasBuiltOnARefusedDecision:
    """The first process has 10 in memory; another has emptied the account by one event. What the first process then
    builds on its own refused event has just the version that the other's event has brought, and must still be refused.
    """

    @pytest.fixture
    async def account(self, api: Bank, other: Bank) -> AccountId:
        account = await api.open("Ann", "ann@example.org")
        await api.deposit(account, 10)
        await other.withdraw(account, 10)
        return account

    async def test_in_the_same_batch_is_decided_anew(self, api: Bank, account: AccountId) -> None:
        deposited, withdrawn = await asyncio.gather(
            api.deposit(account, 1), api.withdraw(account, 10), return_exceptions=True
        )

        assert deposited == 1
        assert isinstance(withdrawn, InsufficientFunds)
        assert (await api.state(account)).balance == 1

    async def test_in_the_next_batch_is_decided_anew(
        self, app: App, api: Bank, account: AccountId, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held = HeldWriter(app.running["bank"].store, monkeypatch)
        depositing = asyncio.create_task(api.deposit(account, 1))
        await held.holding.wait()
        withdrawing = asyncio.create_task(api.withdraw(account, 10))
        await asyncio.sleep(0)
        held.let_go()

        deposited, withdrawn = await asyncio.gather(depositing, withdrawing, return_exceptions=True)

        assert deposited == 1
        assert isinstance(withdrawn, InsufficientFunds)
        assert (await api.state(account)).balance == 1

    async def test_by_a_use_case_that_was_still_running_is_decided_anew(
        self, app: App, api: Bank, account: AccountId, gate: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held = HeldWriter(app.running["bank"].store, monkeypatch)
        depositing = asyncio.create_task(api.deposit_often(account, 1))
        await held.holding.wait()
        gate.shut()
        withdrawing = asyncio.create_task(api.withdraw(account, 10))
        await gate.reached.wait()
        depositing.cancel()
        await asyncio.wait([depositing])
        held.let_go()
        await app.running["bank"]._committer.drain()
        gate.open()

        with pytest.raises(InsufficientFunds):
            await withdrawing

        assert (await api.state(account)).balance == 0

    async def test_leaves_no_wrong_state_behind(self, api: Bank, account: AccountId) -> None:
        await asyncio.gather(*(api.deposit(account, 1) for _ in range(20)))

        state = await api.state(account)
        assert (state.balance, state.version) == (20, 23)
        assert (await api.state(account, version=23)).balance == 20
