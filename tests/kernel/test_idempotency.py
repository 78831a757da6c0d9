"""Every effect has a key: a repeated command gives the same answer and no second effect."""

import asyncio

import pytest

from craton.application import CommandKey, Context, KeyReused
from craton.runtime import App
from craton.runtime.commands.refusals import Refusal, RefusedBefore, as_error
from tests.kernel.bank import AccountId, Bank, Gate, InsufficientFunds, ask

KEY = Context(key=CommandKey("key-1"), actor="ann")


@pytest.fixture
async def account(api: Bank) -> AccountId:
    return await api.open("Ann", "ann@example.org")


class TestTheSameKey:
    async def test_gives_the_same_answer_and_no_second_effect(self, app: App, api: Bank, account: AccountId) -> None:
        first = await ask(app, Bank.deposit, account, 5, context=KEY)
        await api.deposit(account, 100)

        again = await ask(app, Bank.deposit, account, 5, context=KEY)

        assert (again.result, again.position) == (first.result, first.position) == (5, first.position)
        assert (first.replayed, again.replayed) == (False, True)
        assert (await api.state(account)).balance == 105

    async def test_gives_an_answer_of_its_own_type(self, app: App) -> None:
        first = await ask(app, Bank.open, "Bob", "bob@example.org", context=KEY)
        again = await ask(app, Bank.open, "Bob", "bob@example.org", context=KEY)

        assert again.result == first.result
        assert type(again.result) is AccountId

    async def test_with_another_request_is_refused(self, app: App, api: Bank, account: AccountId) -> None:
        await ask(app, Bank.deposit, account, 5, context=KEY)

        with pytest.raises(KeyReused):
            await ask(app, Bank.deposit, account, 6, context=KEY)

        assert (await api.state(account)).balance == 5

    @pytest.mark.parametrize(
        "context",
        [
            Context(key=CommandKey("key-1"), actor="bob"),
            Context(key=CommandKey("key-1"), actor="ann", tenant="t"),
            Context(key=CommandKey("k2")),
        ],
    )
    async def test_of_another_caller_is_another_key(
        self, app: App, api: Bank, account: AccountId, context: Context
    ) -> None:
        await ask(app, Bank.deposit, account, 5, context=KEY)

        assert not (await ask(app, Bank.deposit, account, 6, context=context)).replayed
        assert (await api.state(account)).balance == 11

    async def test_of_another_command_is_another_key(self, app: App, account: AccountId) -> None:
        await ask(app, Bank.deposit, account, 5, context=KEY)

        assert (await ask(app, Bank.withdraw, account, 5, context=KEY)).result == 0

    async def test_of_a_command_that_changes_nothing_is_kept_too(self, app: App, api: Bank, account: AccountId) -> None:
        await api.deposit(account, 5)
        first = await ask(app, Bank.top_up, account, 5, context=KEY)
        await api.withdraw(account, 5)

        again = await ask(app, Bank.top_up, account, 5, context=KEY)

        assert (first.result, again.result, again.replayed) == (False, False, True)
        assert (await api.state(account)).balance == 0


class TestARefusal:
    async def test_is_replayed_although_the_command_would_now_succeed(
        self, app: App, api: Bank, account: AccountId
    ) -> None:
        with pytest.raises(InsufficientFunds) as first:
            await ask(app, Bank.withdraw, account, 5, context=KEY)
        await api.deposit(account, 50)

        with pytest.raises(InsufficientFunds) as again:
            await ask(app, Bank.withdraw, account, 5, context=KEY)

        assert again.value == first.value
        assert again.value.balance == 0
        assert (await api.state(account)).balance == 50

    async def test_of_another_request_with_the_key_says_that_the_key_was_used(
        self, app: App, account: AccountId
    ) -> None:
        with pytest.raises(InsufficientFunds):
            await ask(app, Bank.withdraw, account, 5, context=KEY)

        with pytest.raises(KeyReused):
            await ask(app, Bank.withdraw, account, 6, context=KEY)

    async def test_that_comes_from_a_bug_is_not_kept(self, app: App, api: Bank, account: AccountId) -> None:
        with pytest.raises(ZeroDivisionError):
            await ask(app, Bank.break_down, account, context=KEY)

        assert await app.running["bank"].store.find_result(f"/ann/{'Bank.break_down'}", "key-1") is None


class TestAtTheSameTime:
    async def test_the_command_runs_once_and_all_get_its_answer(
        self, app: App, api: Bank, account: AccountId, gate: Gate
    ) -> None:
        gate.shut()
        calls = [asyncio.create_task(ask(app, Bank.deposit, account, 5, context=KEY)) for _ in range(8)]
        await gate.reached.wait()
        gate.open()

        answers = await asyncio.gather(*calls)

        assert {(answer.result, answer.position) for answer in answers} == {(5, answers[0].position)}
        assert sum(not answer.replayed for answer in answers) == 1
        assert (await api.state(account)).balance == 5

    async def test_two_processes_run_it_once_and_both_get_its_answer(
        self, app: App, other_app: App, api: Bank, account: AccountId, gate: Gate
    ) -> None:
        gate.shut()
        slow = asyncio.create_task(ask(app, Bank.deposit, account, 5, context=KEY))
        await gate.reached.wait()

        fast = await ask(other_app, Bank.deposit, account, 5, context=KEY)
        gate.open()
        late = await slow

        assert (late.result, late.position, late.replayed) == (fast.result, fast.position, True)
        assert (await api.state(account)).balance == 5

    async def test_two_processes_that_race_run_each_key_once(
        self, app: App, other_app: App, api: Bank, account: AccountId
    ) -> None:
        answers = await asyncio.gather(
            *(
                ask(one, Bank.deposit, account, 1, context=Context(key=CommandKey(f"k{n}")))
                for n in range(10)
                for one in (app, other_app, app)
            )
        )

        assert sum(not answer.replayed for answer in answers) == 10
        assert (await api.state(account)).balance == 10

    async def test_a_slow_refusal_gives_way_to_the_success_that_was_recorded_first(
        self, app: App, other_app: App, api: Bank, account: AccountId, gate: Gate
    ) -> None:
        await api.deposit(account, 5)
        gate.shut()
        slow = asyncio.create_task(ask(app, Bank.withdraw, account, 5, context=KEY))
        await gate.reached.wait()

        await ask(other_app, Bank.withdraw, account, 5, context=KEY)
        gate.open()

        assert (await slow).result == 0
        assert (await api.state(account)).balance == 0


class TestARefusalWhoseClassWasMoved:
    def test_is_the_same_refusal_in_another_file_of_its_package(self) -> None:
        refusal = as_error(Refusal("tests.kernel.former:InsufficientFunds", "insufficient-funds", {"balance": 5}))

        assert isinstance(refusal, InsufficientFunds)
        assert refusal.balance == 5

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            ("elsewhere.kernel.bank:InsufficientFunds", "insufficient-funds"),
            ("tests.kernel.former:NoFunds", "insufficient-funds"),
            ("tests.kernel.former:InsufficientFunds", "no-funds"),
        ],
    )
    def test_is_only_known_by_its_code_when_package_name_or_code_is_another(self, error: str, code: str) -> None:
        refusal = as_error(Refusal(error, code, {"balance": 5}))

        assert isinstance(refusal, RefusedBefore)
        assert refusal.reason == code
