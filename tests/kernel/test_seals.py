"""Seals: whoever tampers with the log is found."""

from typing import Any

import pytest

from craton.application.context import entered
from craton.ports import Changeset, Statement, Store
from craton.runtime import App
from craton.testing import until
from tests.conftest import Place
from tests.kernel.bank import Bank, bank, reached
from tests.kernel.conftest import Clock, StartApp


@pytest.fixture
async def app(start: StartApp, clock: Clock) -> App:
    return await start(bank(), subscriptions=True, clock=clock)


@pytest.fixture
async def sealed(app: App) -> App:
    """An app with ten accounts, all of whose log is sealed."""
    for n in range(10):
        await app.api(Bank).open(f"Owner {n}", f"{n}@example.org")
    await _until_sealed(app)
    return app


async def _until_sealed(app: App) -> None:
    store = app.running["bank"].store

    async def all_is_sealed() -> bool:
        return await store.checkpoint("seals") == await store.head()

    await until(all_is_sealed)


async def _problems(app: App) -> list[str]:
    return [problem async for problem in app.running["bank"].verify()]


async def _tamper(store: Store, sql: str, **parameters: Any) -> None:
    async with store.transaction("read committed") as transaction:
        assert await transaction.execute(Statement(sql, parameters)) > 0


class TestVerification:
    async def test_finds_nothing_in_an_unchanged_log(self, sealed: App) -> None:
        assert await _problems(sealed) == []

    async def test_finds_nothing_after_more_was_written_by_another_process(self, sealed: App, start: StartApp) -> None:
        await (await start(bank())).api(Bank).open("Zoe", "zoe@example.org")

        assert await _problems(sealed) == []

    async def test_finds_nothing_while_more_is_sealed(self, sealed: App, monkeypatch: pytest.MonkeyPatch) -> None:
        store = sealed.running["bank"].store
        find_rows = store.find_rows

        async def then_more_is_sealed(*asked: Any) -> Any:
            found = await find_rows(*asked)
            if not found[0]:
                monkeypatch.undo()
                await sealed.api(Bank).open("Zoe", "zoe@example.org")
                await _until_sealed(sealed)
            return found

        monkeypatch.setattr(store, "find_rows", then_more_is_sealed)

        assert await _problems(sealed) == []

    async def test_finds_nothing_while_views_go_on(self, sealed: App, monkeypatch: pytest.MonkeyPatch) -> None:
        bank_, store = sealed.api(Bank), sealed.running["bank"].store
        account = await bank_.open("Zoe", "zoe@example.org")
        await _until_sealed(sealed)
        fetch = store.fetch

        async def after_more_was_written(statement: Statement) -> Any:
            if len(asked) < 6:  # with every statement, first of all those that compare
                asked.append(statement)
                await bank_.deposit(account, 5)
                await bank_.open("Yan", f"yan{len(asked)}@example.org")
                with entered(reached(await store.head())):
                    assert await bank_.balance(account) == 5 * len(asked)
            return await fetch(statement)

        asked: list[Statement] = []
        monkeypatch.setattr(store, "fetch", after_more_was_written)

        assert await _problems(sealed) == []
        assert asked

    async def test_finds_nothing_where_positions_are_missing(self, sealed: App) -> None:
        store = sealed.running["bank"].store
        reached = await store.head() + 3

        await store.write([Changeset(checkpoint=("seals", reached))])

        assert await _problems(sealed) == []

    @pytest.mark.parametrize(
        "change",
        [
            """data = '{"owner":"Eve","email":"eve@example.org"}'""",
            "metadata = '{}'",
            "id = 'other'",
            "type = 'MoneyDeposited'",
            "stream = 'account-of-eve'",
            "version = 7",
            "schema_version = 7",
            "time = :time",
        ],
        ids=lambda change: change.partition(" ")[0],
    )
    async def test_finds_each_changed_field(self, sealed: App, clock: Clock, change: str) -> None:
        store = sealed.running["bank"].store
        victim = (await store.read_feed(0, 5)).events[4].position
        parameters = {"time": clock.forward(days=1)} if ":time" in change else {}

        await _tamper(store, f"UPDATE events SET {change} WHERE position = :victim", victim=victim, **parameters)

        (problem,) = await _problems(sealed)
        assert "the log was changed between positions" in problem

    @pytest.mark.parametrize("place_in_log", [0, 4, 9])
    async def test_finds_a_removed_event(self, sealed: App, place_in_log: int) -> None:
        store = sealed.running["bank"].store
        victim = (await store.read_feed(0, 10)).events[place_in_log].position

        await _tamper(store, "DELETE FROM events WHERE position = :victim", victim=victim)

        assert len(await _problems(sealed)) == 1

    async def test_finds_a_log_that_was_emptied(self, sealed: App) -> None:
        await _tamper(sealed.running["bank"].store, "DELETE FROM events")

        assert len(await _problems(sealed)) == 1

    async def test_finds_removed_seals(self, sealed: App) -> None:
        store = sealed.running["bank"].store
        await _tamper(store, "UPDATE events SET metadata = '{}'")
        await _tamper(store, "DELETE FROM seals")

        assert await _problems(sealed) != []

    async def test_goes_on_where_another_process_has_stopped(self, place: Place, clock: Clock) -> None:
        for n in range(3):
            app = App("test", modules=[bank()], clock=clock)
            async with app.run(place):
                await app.api(Bank).open(f"Owner {n}", f"{n}@example.org")
                await _until_sealed(app)
                assert await _problems(app) == []
