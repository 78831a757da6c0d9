"""Classical transactions: `async with transaction()` over the module's own tables."""

import asyncio

import pytest

from craton.application import CommandKey, Context, MisuseError, transaction
from craton.runtime import App
from tests.kernel.bank import AccountId, Bank, Gate, InsufficientFunds, ask


@pytest.fixture
async def account(api: Bank) -> AccountId:
    return await api.open("Ann", "ann@example.org")


class TestATransaction:
    async def test_commits_its_sql_and_its_events_together(self, api: Bank, other: Bank, account: AccountId) -> None:
        await api.note("one", account)

        assert await other.notes() == ("one",)
        assert (await other.state(account)).balance == 1

    async def test_sees_what_it_has_done_itself(self, api: Bank) -> None:
        await api.note("one", then="see")

        assert await api.notes() == ("one", "one seen 1 times")

    async def test_inside_another_is_joined(self, api: Bank) -> None:
        await api.note("one", then="nested")

        assert await api.notes() == ("one", "one nested")

    @pytest.mark.parametrize(("then", "error"), [("refuse", InsufficientFunds), ("break", ZeroDivisionError)])
    async def test_is_rolled_back_whole_by_any_exception(
        self, api: Bank, account: AccountId, then: str, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            await api.note("one", account, then)

        assert await api.notes() == ()
        assert (await api.state(account)).version == 1

    async def test_is_rolled_back_by_cancellation_and_leaves_the_store_usable(
        self, api: Bank, account: AccountId, gate: Gate
    ) -> None:
        await api.note("before")
        gate.shut()
        noting = asyncio.create_task(api.note("one", None, "wait"))
        await gate.reached.wait()

        noting.cancel()
        await asyncio.wait([noting])
        gate.open()

        assert noting.cancelled()
        assert await api.notes() == ("before",)
        assert await api.deposit(account, 1) == 1
        await api.note("after")
        assert await api.notes() == ("after", "before")

    async def test_never_reports_a_success_that_is_none(self, api: Bank) -> None:
        try:
            await api.note_twice("one")
        except Exception:
            assert await api.notes() == ()
        else:
            assert await api.notes() == ("one", "one NotUnique")

    async def test_goes_on_after_a_refused_statement_that_is_caught(self, api: Bank) -> None:
        await api.note_twice("one")

        assert await api.notes() == ("one", "one NotUnique")

    async def test_runs_again_when_another_process_has_changed_what_it_read(
        self, api: Bank, other: Bank, account: AccountId
    ) -> None:
        await api.deposit(account, 1)
        await other.deposit(account, 1)

        await api.note("one", account)

        assert (await api.state(account)).balance == 3
        assert await api.notes() == ("one",)

    async def test_with_a_key_has_its_effect_once(self, app: App, api: Bank, account: AccountId) -> None:
        for _ in range(2):
            await ask(app, Bank.note, "one", account, context=Context(key=CommandKey("k")))

        assert await api.notes() == ("one",)
        assert (await api.state(account)).balance == 1

    async def test_that_is_refused_with_a_key_is_refused_again(self, app: App, api: Bank, account: AccountId) -> None:
        for _ in range(2):
            with pytest.raises(InsufficientFunds):
                await ask(app, Bank.note, "one", account, "refuse", context=Context(key=CommandKey("k")))

        assert await api.notes() == ()

    async def test_many_of_them_and_many_plain_commands_do_not_disturb_each_other(
        self, api: Bank, account: AccountId
    ) -> None:
        await asyncio.gather(
            *(api.note(f"n{n:02}", account) for n in range(6)), *(api.deposit(account, 1) for _ in range(12))
        )

        assert len(await api.notes()) == 6
        assert (await api.state(account)).balance == 18

    async def test_is_refused_outside_of_a_use_case(self) -> None:
        with pytest.raises(MisuseError, match="only inside a use case"):
            async with transaction():
                pass
