"""Commands that run when their time has come: durably, and once."""

from datetime import timedelta

import pytest

from craton.application import CommandKey, Context, MisuseError, schedule
from craton.runtime import App
from craton.testing import until
from tests.kernel.bank import AccountId, Bank, InsufficientFunds, ask, bank
from tests.kernel.conftest import Clock, StartApp


@pytest.fixture
async def account(api: Bank) -> AccountId:
    return await api.open("Ann", "ann@example.org")


async def _all_ran(app: App) -> bool:
    return await app.running["bank"].store.next_timer() is None


class TestATimer:
    async def test_runs_its_command_when_its_time_has_come(
        self, app: App, api: Bank, account: AccountId, clock: Clock, start: StartApp
    ) -> None:
        await api.promise(account, 5, clock.time + timedelta(hours=1))
        running = await start(bank(), clock=clock, subscriptions=True)
        assert not await _all_ran(running)

        clock.forward(hours=1)
        await until(lambda: _all_ran(running))

        assert (await api.state(account)).balance == 5

    async def test_survives_the_process_that_has_set_it(
        self, api: Bank, account: AccountId, clock: Clock, start: StartApp
    ) -> None:
        await api.promise(account, 5, clock.time - timedelta(days=1))

        later = await start(bank(), clock=clock, subscriptions=True)
        await until(lambda: _all_ran(later))

        assert (await api.state(account)).balance == 5

    async def test_takes_effect_once_although_several_processes_try(
        self, api: Bank, account: AccountId, clock: Clock, start: StartApp
    ) -> None:
        for _ in range(10):
            await api.promise(account, 1, clock.time)

        apps = [await start(bank(), clock=clock, subscriptions=True) for _ in range(3)]
        await until(lambda: _all_ran(apps[0]))

        assert (await api.state(account)).balance == 10

    async def test_is_not_set_by_a_command_that_is_refused(
        self, app: App, api: Bank, account: AccountId, clock: Clock
    ) -> None:
        with pytest.raises(InsufficientFunds):
            await ask(app, Bank.note, "n", account, "refuse")

        assert await _all_ran(app)

    async def test_with_a_key_is_set_once(self, app: App, account: AccountId, clock: Clock) -> None:
        for _ in range(2):
            await ask(app, Bank.promise, account, 5, clock.time, context=Context(key=CommandKey("k")))

        assert len(await app.running["bank"].store.due_timers(clock.time, 10)) == 1

    async def test_keeps_the_conversation_that_it_was_set_in(
        self, app: App, account: AccountId, clock: Clock, start: StartApp
    ) -> None:
        await ask(app, Bank.promise, account, 5, clock.time, context=Context(correlation="conversation-1"))

        running = await start(bank(), clock=clock, subscriptions=True)
        await until(lambda: _all_ran(running))

        *_, last = [event async for event in running.running["bank"].source.stored()]
        assert '"correlation":"conversation-1"' in last.metadata
        assert '"actor":"timer"' in last.metadata

    async def test_whose_command_breaks_down_does_not_stop_the_others(
        self, api: Bank, account: AccountId, clock: Clock, start: StartApp
    ) -> None:
        await api.break_down_later(account, clock.time)
        running = await start(bank(), clock=clock, subscriptions=True)

        await api.promise(account, 5, clock.time)

        async def paid() -> bool:
            return (await running.api(Bank).state(account)).balance == 5

        await until(paid)

    async def test_can_not_be_set_outside_of_a_use_case(self, clock: Clock) -> None:
        with pytest.raises(MisuseError, match="only inside a use case"):
            schedule(clock.time, Bank.deposit, amount=1)
