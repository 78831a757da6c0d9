"""The classical transfer of the how-to, in each database: both accounts and the log change, or none of them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from craton.application import CommandKey, Context, Unavailable
from craton.application.api import operation_of
from craton.ports import Statement
from craton.testing import RunningApp, run
from examples.transfers import AccountId, Transfers, TransfersService, app
from tests.market.refusals import code_of

ANN, BOB = AccountId.derived("ann"), AccountId.derived("bob")
NOBODY = AccountId.derived("nobody")


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
async def bank(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunningApp]:
    """Ann has 1,000 cents, and Bob has 1,000."""
    settings, store = {}, "sqlite"
    if request.param == "mariadb":
        settings["CRATON_TRANSFERS_DATABASE"] = str(request.getfixturevalue("mariadb_url"))
    if request.param == "postgres":
        store = str(request.getfixturevalue("postgres_url"))
        connection = await asyncpg.connect(store)
        await connection.execute("DROP SCHEMA IF EXISTS transfers_transfers CASCADE")
        await connection.close()
    async with run(app, settings=settings, store=store, folder=tmp_path) as running:
        for account in (ANN, BOB):
            await running.api(Transfers).open(account, 1_000)
        yield running


async def holds(bank: RunningApp) -> tuple[int, int]:
    ann, bob = [await bank.api(Transfers).account(account) for account in (ANN, BOB)]
    return ann.cents, bob.cents


async def logged(bank: RunningApp) -> list[int]:
    rows = await bank.app.running["transfers"].store.fetch(Statement("SELECT cents FROM transfers ORDER BY id", {}))
    return [row["cents"] for row in rows]


async def test_money_moves_and_it_is_written_down(bank: RunningApp) -> None:
    await bank.api(Transfers).transfer(ANN, BOB, 300)

    assert await holds(bank) == (700, 1_300)
    assert await logged(bank) == [300]


@pytest.mark.parametrize(
    ("source", "target", "cents", "code"),
    [
        (ANN, ANN, 1, "to-itself"),
        (ANN, NOBODY, 1, "account-not-found"),
        (NOBODY, ANN, 1, "account-not-found"),
        (ANN, BOB, 1_001, "too-little-money"),
    ],
)
async def test_what_is_refused_moves_nothing(
    bank: RunningApp, source: AccountId, target: AccountId, cents: int, code: str
) -> None:
    assert await code_of(bank.api(Transfers).transfer(source, target, cents)) == code

    assert await holds(bank) == (1_000, 1_000)
    assert await logged(bank) == []


async def test_there_and_back_at_full_speed_nothing_is_lost_and_nothing_hangs(bank: RunningApp) -> None:
    api = bank.api(Transfers)

    await asyncio.gather(
        *(api.transfer(ANN, BOB, 3) for _ in range(50)), *(api.transfer(BOB, ANN, 2) for _ in range(50))
    )

    assert await holds(bank) == (950, 1_050)
    assert sorted(await logged(bank)) == [2] * 50 + [3] * 50


async def test_of_many_who_want_more_than_there_is_some_get_it_and_no_account_goes_below_zero(bank: RunningApp) -> None:
    api = bank.api(Transfers)

    codes = await asyncio.gather(*(code_of(api.transfer(ANN, BOB, 300)) for _ in range(10)))

    assert sorted(codes) == ["", "", "", *["too-little-money"] * 7]
    assert await holds(bank) == (100, 1_900)


@pytest.mark.parametrize("panic", [RuntimeError("half-way"), asyncio.CancelledError()], ids=["error", "cancellation"])
async def test_a_panic_half_way_undoes_all(
    bank: RunningApp, monkeypatch: pytest.MonkeyPatch, panic: BaseException
) -> None:
    add = TransfersService._add

    async def add_and_panic(self: TransfersService, account: AccountId, cents: int) -> bool:
        await add(self, account, cents)
        if cents > 0:
            raise panic
        return True

    monkeypatch.setattr(TransfersService, "_add", add_and_panic)
    transferring = asyncio.ensure_future(bank.api(Transfers).transfer(ANN, BOB, 300))
    await asyncio.wait([transferring])

    assert transferring.cancelled() or transferring.exception() is not None
    assert await holds(bank) == (1_000, 1_000)
    assert await logged(bank) == []


async def test_a_repeated_transfer_moves_money_once(bank: RunningApp) -> None:
    arguments: dict[str, Any] = {"source": ANN, "target": BOB, "cents": 300}
    operation, context = operation_of(Transfers.transfer), Context(actor="ann", key=CommandKey("rent"))

    answers = await asyncio.gather(*(bank.app.call(operation, arguments, context) for _ in range(10)))

    assert len({answer.result for answer in answers}) == 1
    assert await holds(bank) == (700, 1_300)


async def test_a_commit_that_fails_is_an_error_and_moves_nothing(
    bank: RunningApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection to the database is cut before the commit. SQLite has none."""
    store: Any = bank.app.running["transfers"].store
    if not hasattr(store, "_database"):
        pytest.skip("SQLite has no connection that could be cut")
    add = TransfersService._add

    async def add_and_cut(self: TransfersService, account: AccountId, cents: int) -> bool:
        added = await add(self, account, cents)
        if cents > 0:
            await cut(self)
        return added

    monkeypatch.setattr(TransfersService, "_add", add_and_cut)
    with pytest.raises(Unavailable):
        await bank.api(Transfers).transfer(ANN, BOB, 300)
    monkeypatch.undo()

    assert await holds(bank) == (1_000, 1_000)
    assert await logged(bank) == []


async def cut(service: TransfersService) -> None:
    """Have the server end the connection of the running transaction."""
    database: Any = service._database
    is_maria = "Maria" in type(database._store).__name__
    await database.fetch("KILL CONNECTION_ID()" if is_maria else "SELECT pg_terminate_backend(pg_backend_pid())")
