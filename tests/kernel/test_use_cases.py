"""Commands and queries: what runs again, what joins, what is refused."""

import asyncio

import pytest

from craton.application import (
    AlreadyExists,
    Api,
    CommandKey,
    Context,
    DeadlineExceeded,
    MisuseError,
    Module,
    Precondition,
    StaleVersion,
    ValueTaken,
    command,
    query,
)
from craton.application.repository import Repository
from craton.runtime import App
from tests.kernel.bank import (
    Account,
    AccountId,
    AccountNotFound,
    AccountOpened,
    Bank,
    Gate,
    InsufficientFunds,
    ask,
    bank,
)
from tests.kernel.conftest import StartApp


class TestACommand:
    async def test_what_it_records_is_there_when_it_is_answered(self, api: Bank) -> None:
        account = await api.open("Ann", "ann@example.org")

        assert await api.deposit(account, 30) == 30
        assert await api.withdraw(account, 10) == 20

        state = await api.state(account)
        assert (state.owner, state.balance, state.version) == ("Ann", 20, 3)

    async def test_a_refused_one_changes_nothing(self, api: Bank) -> None:
        account = await api.open("Ann", "ann@example.org")

        with pytest.raises(InsufficientFunds) as refusal:
            await api.withdraw(account, 1)

        assert refusal.value.balance == 0
        assert (await api.state(account)).version == 1

    async def test_one_that_breaks_down_changes_nothing_and_says_why(self, api: Bank) -> None:
        account = await api.open("Ann", "ann@example.org")

        with pytest.raises(ZeroDivisionError, match="as the test asked"):
            await api.break_down(account)

        assert (await api.state(account)).version == 1

    async def test_its_position_is_that_of_its_last_event(self, app: App, api: Bank) -> None:
        account = await api.open("Ann", "ann@example.org")

        answer = await ask(app, Bank.deposit_often, account, 3)

        assert answer.position == await app.running["bank"].store.head()

    async def test_an_id_that_is_taken_is_not_given_again(self, app: App, api: Bank, other: Bank) -> None:
        account = AccountId.new()
        await api.open_as(account, "Ann")

        for bank_of in (api, other):
            with pytest.raises(AlreadyExists):
                await bank_of.open_as(account, "Bob")

        assert (await api.state(account)).owner == "Ann"

    async def test_an_unknown_aggregate_is_refused_by_its_own_error(self, api: Bank) -> None:
        with pytest.raises(AccountNotFound):
            await api.deposit(AccountId.new(), 1)


class TestAConflict:
    async def test_a_use_case_runs_again_when_another_process_was_faster(
        self, api: Bank, other: Bank, gate: Gate
    ) -> None:
        account = await api.open("Ann", "ann@example.org")
        gate.shut()
        slow = asyncio.create_task(api.deposit(account, 1))
        await gate.reached.wait()

        await other.deposit(account, 10)
        gate.open()

        assert await slow == 11
        assert gate.came_by == 3

    async def test_it_decides_anew_when_it_runs_again(self, api: Bank, other: Bank, gate: Gate) -> None:
        account = await api.open("Ann", "ann@example.org")
        await api.deposit(account, 10)
        gate.shut()
        slow = asyncio.create_task(api.withdraw(account, 8))
        await gate.reached.wait()

        await other.withdraw(account, 5)
        gate.open()

        with pytest.raises(InsufficientFunds) as refusal:
            await slow
        assert refusal.value.balance == 5
        assert (await other.state(account)).balance == 5

    async def test_two_processes_that_write_all_the_time_lose_nothing(self, api: Bank, other: Bank) -> None:
        account = await api.open("Ann", "ann@example.org")

        await asyncio.gather(*(bank_of.deposit(account, 1) for _ in range(20) for bank_of in (api, other)))

        state = await api.state(account)
        assert (state.balance, state.version) == (40, 41)


class TestRequireUnchanged:
    async def test_a_witness_that_changes_meanwhile_has_the_use_case_run_again(
        self, api: Bank, other: Bank, gate: Gate
    ) -> None:
        winner, witness = [await api.open(name, f"{name}@example.org") for name in ("Ann", "Bob")]
        gate.shut()
        rewarding = asyncio.create_task(api.reward(winner, witness))
        await gate.reached.wait()

        await other.deposit(witness, 7)
        gate.open()

        assert await rewarding == 7
        assert (await other.state(winner)).balance == 7

    async def test_a_witness_that_stays_as_it_is_is_not_changed(self, api: Bank) -> None:
        winner, witness = [await api.open(name, f"{name}@example.org") for name in ("Ann", "Bob")]
        await api.deposit(witness, 3)

        assert await api.reward(winner, witness) == 3

        assert (await api.state(witness)).version == 2

    async def test_a_witness_in_memory_that_another_process_has_changed_is_read_again(
        self, api: Bank, other: Bank
    ) -> None:
        winner, witness = [await api.open(name, f"{name}@example.org") for name in ("Ann", "Bob")]
        await api.deposit(witness, 3)
        await other.deposit(witness, 4)

        assert await api.reward(winner, witness) == 7


class TestJoining:
    async def test_a_command_inside_a_command_of_its_module_joins_its_unit_of_work(self, app: App, api: Bank) -> None:
        source, target = [await api.open(name, f"{name}@example.org") for name in ("Ann", "Bob")]
        await api.deposit(source, 10)

        await api.transfer(source, target, 4)

        assert [(await api.state(id)).balance for id in (source, target)] == [6, 4]
        last = [event async for event in app.running["bank"].source.stored()][-2:]
        assert {event.stream for event in last} == {f"account-{source}", f"account-{target}"}

    async def test_when_a_later_part_is_refused_the_earlier_is_undone(self, api: Bank) -> None:
        source, target = [await api.open(name, f"{name}@example.org") for name in ("Ann", "Bob")]

        with pytest.raises(InsufficientFunds):
            await api.transfer(source, target, 4)

        assert (await api.state(target)).version == 1

    async def test_many_transfers_to_and_fro_keep_the_sum(self, api: Bank, other: Bank) -> None:
        ids = [await api.open(name, f"{name}@example.org") for name in ("Ann", "Bob", "Cid")]
        for id in ids:
            await api.deposit(id, 100)

        await asyncio.gather(
            *((api, other)[n % 2].transfer(ids[n % 3], ids[(n + 1 + n % 2) % 3], n % 7 + 1) for n in range(30))
        )

        assert sum([(await api.state(id)).balance for id in ids]) == 300


class Shop(Api):
    @command
    async def sell(self, account: AccountId) -> int: ...

    @command
    async def quote(self, account: AccountId) -> int: ...

    @query
    async def look(self, account: AccountId) -> int: ...


class ShopService(Shop):
    def __init__(self, bank: Bank, accounts: Repository[Account]) -> None:
        self._bank = bank

    async def sell(self, account: AccountId) -> int:
        return await self._bank.deposit(account, 1)

    async def quote(self, account: AccountId) -> int:
        return (await self._bank.state(account)).balance

    async def look(self, account: AccountId) -> int:
        return await self._bank.deposit(account, 1)


class Twins(Api):
    @command
    async def find_or_add(self, account: AccountId) -> None: ...

    @command
    async def add(self, account: AccountId) -> None: ...

    @query
    async def owner(self, account: AccountId) -> str: ...


class TwinsService(Twins):
    """Asks for the same aggregate twice at the same time."""

    def __init__(self, accounts: Repository[Account]) -> None:
        self._accounts = accounts

    async def find_or_add(self, account: AccountId) -> None:
        found = await asyncio.gather(*(self._find_or_add(account) for _ in range(3)))
        assert found[0] is found[1] is found[2]

    async def _find_or_add(self, account: AccountId) -> Account:
        found = await self._accounts.find_or_add(account)
        if not found.version:
            found.record(AccountOpened(owner="Ann", email="ann@example.org"))
        else:
            found.deposit(1)
        return found

    async def add(self, account: AccountId) -> None:
        for _ in range(2):
            self._accounts.add(Account(account))

    async def owner(self, account: AccountId) -> str:
        found = await self._accounts.get(account)
        return f"{found.owner} has {found.balance}"


class TestAnAggregateThatIsAskedForTwice:
    async def test_at_the_same_time_is_one_whether_it_was_there_or_not(self, start: StartApp) -> None:
        twins, account = (await start(Module("twins", api=Twins, service=TwinsService))).api(Twins), AccountId.new()

        await twins.find_or_add(account)
        assert await twins.owner(account) == "Ann has 2"

        await twins.find_or_add(account)
        assert await twins.owner(account) == "Ann has 5"

    async def test_is_added_once(self, start: StartApp) -> None:
        twins = (await start(Module("twins", api=Twins, service=TwinsService))).api(Twins)

        with pytest.raises(MisuseError, match=r"is in this unit of work already"):
            await twins.add(AccountId.new())


class TestTheLaws:
    @pytest.fixture
    async def app(self, start: StartApp) -> App:
        return await start(bank(), Module("shop", api=Shop, service=ShopService))

    async def test_a_command_of_another_module_is_refused_inside_a_unit_of_work(self, app: App, api: Bank) -> None:
        account = await api.open("Ann", "ann@example.org")

        with pytest.raises(MisuseError, match="saga or a policy") as refusal:
            await app.api(Shop).sell(account)

        assert "Bank.deposit" in str(refusal.value)
        assert (await api.state(account)).version == 1

    async def test_a_query_of_another_module_is_answered_inside_a_unit_of_work(self, app: App, api: Bank) -> None:
        account = await api.open("Ann", "ann@example.org")
        await api.deposit(account, 5)

        assert await app.api(Shop).quote(account) == 5

    async def test_a_command_is_refused_inside_a_query(self, app: App, api: Bank) -> None:
        account = await api.open("Ann", "ann@example.org")

        with pytest.raises(MisuseError, match="inside a query"):
            await api.deposit_in_a_query(account)
        with pytest.raises(MisuseError, match="inside a query"):
            await app.api(Shop).look(account)

        assert (await api.state(account)).version == 1

    async def test_a_query_that_records_something_is_refused(self, app: App, api: Bank) -> None:
        account = await api.open("Ann", "ann@example.org")

        with pytest.raises(MisuseError, match="make it a command"):
            await api.record_in_a_query(account)

        assert (await api.state(account)).version == 1


class TestPreconditions:
    async def test_a_caller_who_has_seen_the_newest_version_goes_on(self, app: App, api: Bank) -> None:
        account = await api.open("Ann", "ann@example.org")
        seen = Context(precondition=Precondition((account,), frozenset({1})))

        assert (await ask(app, Bank.deposit, account, 1, context=seen)).result == 1

    async def test_a_caller_who_has_seen_an_older_version_is_told_the_newest(
        self, app: App, api: Bank, other: Bank
    ) -> None:
        account = await api.open("Ann", "ann@example.org")
        await other.deposit(account, 1)

        with pytest.raises(StaleVersion) as refusal:
            await ask(
                app, Bank.deposit, account, 1, context=Context(precondition=Precondition((account,), frozenset({1})))
            )

        assert refusal.value.current == 2

    async def test_a_version_that_only_memory_does_not_know_yet_is_accepted(
        self, app: App, api: Bank, other: Bank
    ) -> None:
        account = await api.open("Ann", "ann@example.org")
        await other.deposit(account, 1)

        seen = Context(precondition=Precondition((account,), frozenset({2})))

        assert (await ask(app, Bank.deposit, account, 1, context=seen)).result == 2


class TestUniqueValues:
    async def test_a_value_that_another_has_is_refused_with_its_field(self, api: Bank, other: Bank) -> None:
        await api.open("Ann", "ann@example.org")

        for bank_of in (api, other):
            with pytest.raises(ValueTaken) as refusal:
                await bank_of.open("Bob", "ann@example.org")
            assert refusal.value.field == "email"

    async def test_of_many_who_want_it_at_once_one_gets_it(self, app: App, api: Bank, other: Bank) -> None:
        outcomes = await asyncio.gather(
            *(bank_of.open("Ann", "ann@example.org") for _ in range(8) for bank_of in (api, other)),
            *(api.open("Bob", f"bob{n}@example.org") for n in range(4)),
            return_exceptions=True,
        )

        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["AccountId"] * 5 + ["ValueTaken"] * 15
        assert len([event async for event in app.running["bank"].source.stored()]) == 5


class TestDeadlines:
    async def test_a_call_whose_time_is_over_is_not_begun(self, app: App, api: Bank, gate: Gate) -> None:
        account = await api.open("Ann", "ann@example.org")
        came_by = gate.came_by

        with pytest.raises(DeadlineExceeded) as problem:
            await ask(app, Bank.deposit, account, 1, context=Context(deadline=0.0))

        assert not problem.value.maybe_executed
        assert gate.came_by == came_by

    async def test_a_call_that_takes_too_long_may_have_run(self, app: App, api: Bank, gate: Gate) -> None:
        account = await api.open("Ann", "ann@example.org")
        gate.shut()
        soon = asyncio.get_running_loop().time() + 0.05

        with pytest.raises(DeadlineExceeded) as problem:
            await ask(app, Bank.deposit, account, 1, context=Context(deadline=soon))

        assert problem.value.maybe_executed
        assert (await api.state(account)).version == 1

    async def test_the_next_caller_is_not_harmed_by_one_whose_time_was_over(
        self, app: App, api: Bank, gate: Gate
    ) -> None:
        account = await api.open("Ann", "ann@example.org")
        gate.shut()
        with pytest.raises(DeadlineExceeded):
            soon = asyncio.get_running_loop().time() + 0.05
            await ask(app, Bank.deposit, account, 1, context=Context(key=CommandKey("k"), deadline=soon))
        gate.open()

        assert (await ask(app, Bank.deposit, account, 1, context=Context(key=CommandKey("k")))).result == 1
