"""Many callers on one aggregate line up instead of colliding, and one that fails harms none of the others."""

import asyncio
from collections.abc import Sequence

import pytest

from craton.application import Unavailable
from craton.ports import Changeset, RowDelete, Store, StoreUnavailable, WriteOutcome
from craton.runtime import App
from craton.runtime.committer import MAX_BATCH, Committer
from craton.testing.conformance.making import appending, versions
from tests.kernel.bank import AccountId, Bank, InsufficientFunds, ask, bank
from tests.kernel.conftest import StartApp

CALLERS = 64


@pytest.fixture
async def account(api: Bank) -> AccountId:
    return await api.open("Ann", "ann@example.org")


class TestManyCallersOnOneAccount:
    async def test_lose_nothing(self, api: Bank, account: AccountId) -> None:
        balances = await asyncio.gather(*(api.deposit(account, 1) for _ in range(CALLERS)))

        assert sorted(balances) == list(range(1, CALLERS + 1))
        assert (await api.state(account)).balance == CALLERS

    async def test_are_answered_only_when_what_they_were_told_is_durable(
        self, app: App, api: Bank, other: Bank, account: AccountId
    ) -> None:
        async def deposit() -> tuple[int, int]:
            answer = await ask(app, Bank.deposit, account, 1)
            return answer.position, (await other.state(account)).balance

        seen = await asyncio.gather(*(deposit() for _ in range(CALLERS)))

        positions = sorted(position for position, _ in seen)
        assert len(set(positions)) == CALLERS
        assert all(balance >= positions.index(position) + 1 for position, balance in seen)

    async def test_are_not_harmed_by_those_that_are_refused(self, api: Bank, account: AccountId) -> None:
        outcomes = await asyncio.gather(
            *(api.withdraw(account, 10_000) if n % 4 == 3 else api.deposit(account, 1) for n in range(CALLERS)),
            return_exceptions=True,
        )

        refused = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        assert [type(outcome) for outcome in refused] == [InsufficientFunds] * (CALLERS // 4)
        assert (await api.state(account)).balance == CALLERS - CALLERS // 4

    async def test_are_not_harmed_by_one_that_breaks_down(self, api: Bank, account: AccountId) -> None:
        outcomes = await asyncio.gather(
            *(api.break_down(account) if n == 20 else api.deposit(account, 1) for n in range(CALLERS)),
            return_exceptions=True,
        )

        assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Exception)] == [20]
        assert (await api.state(account)).balance == CALLERS - 1

    async def test_are_not_harmed_by_one_that_is_cancelled(self, api: Bank, account: AccountId) -> None:
        calls = [asyncio.create_task(api.deposit(account, 1)) for _ in range(CALLERS)]
        await asyncio.sleep(0)
        for call in calls[::8]:
            call.cancel()

        outcomes = await asyncio.gather(*calls, return_exceptions=True)

        answered = sum(isinstance(outcome, int) for outcome in outcomes)
        assert answered == CALLERS - len(calls[::8])
        assert answered <= (await api.state(account)).balance <= CALLERS

    async def test_never_overdraw_it(self, api: Bank, other: Bank, account: AccountId) -> None:
        await api.deposit(account, 10)

        outcomes = await asyncio.gather(
            *((api, other)[n % 2].withdraw(account, 1) for n in range(30)), return_exceptions=True
        )

        assert [type(o) for o in outcomes if isinstance(o, Exception)] == [InsufficientFunds] * 20
        assert (await api.state(account)).balance == 0

    async def test_are_not_harmed_by_an_inline_projection_that_fails_for_another(
        self, start: StartApp, api: Bank, account: AccountId
    ) -> None:
        stranger = AccountId.new()
        await _forget_owner(start, api, stranger)

        outcomes = await asyncio.gather(
            *(api.deposit(stranger if n == 7 else account, 1) for n in range(16)), return_exceptions=True
        )

        assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, BaseException)] == [7]
        assert (await api.state(account)).balance == 15


async def _forget_owner(start: StartApp, api: Bank, account: AccountId) -> None:
    """Open an account and delete its row of the inline projection, so that the next deposit can't be projected."""
    await api.open_as(account, "Zoe")
    app = await start(bank())
    running = app.running["bank"]
    (row_type,) = running.projections["owners"].definition.rows.values()
    await running.store.write([Changeset(rows=[RowDelete(row_type.table(1), (str(account),))])])


class Observed:
    """A writer that notes which streams are being written at the same time."""

    def __init__(self, store: Store) -> None:
        self.writers = 4
        self.overlaps: list[set[str]] = []
        self.sizes: list[int] = []
        self._store = store
        self._busy: list[set[str]] = []

    async def write(self, units: Sequence[Changeset]) -> Sequence[WriteOutcome]:
        streams = set().union(*(unit.streams for unit in units))
        self.overlaps += [streams & other for other in self._busy if streams & other]
        self.sizes.append(len(units))
        self._busy.append(streams)
        try:
            return await self._store.write(units)
        finally:
            self._busy.remove(streams)


class Failing(Observed):
    """A writer whose disk is full for a while."""

    full = True

    async def write(self, units: Sequence[Changeset]) -> Sequence[WriteOutcome]:
        if self.full:
            raise StoreUnavailable("the disk is full", maybe_executed=False)
        return await super().write(units)


class TestGroupCommit:
    async def test_a_stream_is_never_in_two_batches_at_the_same_time(self, store: Store) -> None:
        observed = Observed(store)
        committer = Committer(observed, lambda: None)  # type: ignore[arg-type]

        await asyncio.gather(*(committer.submit(appending("hot", n)) for n in range(3 * MAX_BATCH)))

        assert observed.overlaps == []
        assert await versions(store, "hot") == list(range(1, 3 * MAX_BATCH + 1))

    async def test_units_that_arrive_together_are_written_together(self, store: Store) -> None:
        observed = Observed(store)
        committer = Committer(observed, lambda: None)  # type: ignore[arg-type]

        await asyncio.gather(*(committer.submit(appending(f"s{n}")) for n in range(50)))

        assert observed.sizes == [50]

    async def test_a_store_that_fails_is_told_to_each_caller_and_the_next_is_served(self, store: Store) -> None:
        failing = Failing(store)
        committer = Committer(failing, lambda: None)  # type: ignore[arg-type]

        outcomes = await asyncio.gather(
            *(committer.submit(appending(f"s{n}")) for n in range(5)), return_exceptions=True
        )
        failing.full = False

        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 5
        assert await committer.submit(appending("s0")) > 0


class TestAStoreThatFails:
    async def test_leaves_nothing_in_memory_that_was_not_written(
        self, app: App, api: Bank, account: AccountId, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = app.running["bank"].store
        await api.deposit(account, 5)

        async def fail(_units: Sequence[Changeset]) -> Sequence[WriteOutcome]:
            raise StoreUnavailable("the disk is full", maybe_executed=False)

        with monkeypatch.context() as patched:
            patched.setattr(store, "write", fail)
            outcomes = await asyncio.gather(*(api.deposit(account, 1) for _ in range(10)), return_exceptions=True)

        assert [type(outcome) for outcome in outcomes] == [Unavailable] * 10
        assert await api.deposit(account, 1) == 6
