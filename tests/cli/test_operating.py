"""Commands that operate: projections, parked events, up."""

import asyncio
import re
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from craton.domain import Event, Recorded
from craton.ports import Changeset, Timer
from craton.testing import until
from market.ledger.api import AccountState
from market.ledger.domain import Account
from market.ledger.events import AccountId
from market.ledger.read_models import Balances
from tests.cli.conftest import CRATON, PROJECT, Data, craton, environment
from tests.http.client import Client
from tests.market.guarded import GuardedPlace
from tests.market.money import eur

# --- projections -------------------------------------------------------------------------------------------------


def test_the_projections_are_listed(filled: Data) -> None:
    listed = craton("projections", "list", "--json", *filled.option)

    entries = {entry["projection"]: entry for entry in listed.records}
    assert entries.keys() == {"balances", "statement", "transfers"}
    assert all((entry["live"], entry["lag"], entry["parked"]) == (1, 0, 0) for entry in entries.values())


def test_the_projections_are_a_table_for_people(filled: Data) -> None:
    listed = craton("projections", "list", *filled.option)

    assert listed.lines[0].split()[:2] == ["module", "projection"]
    assert len(listed.lines) == 4


@pytest.mark.parametrize("name", ["balances", "ledger.balances"])
def test_a_projection_is_built_anew(data: Data, name: str) -> None:
    rebuilt = craton("projections", "rebuild", name, *data.option)

    assert rebuilt.code == 0
    assert re.search(rf"{name}: [\d,]+ events in [\d.]+ s; generation 2 is live\.", rebuilt.out)
    assert craton("verify", *data.option).code == 0


def test_what_was_built_anew_can_be_read_by_a_script(data: Data) -> None:
    (progress,) = craton("projections", "rebuild", "balances", "--json", *data.option).records

    assert (progress["live"], progress["previous"], progress["building"], progress["lag"]) == (2, 1, 0, 0)


def test_a_wrong_read_model_is_right_after_a_rebuild(data: Data) -> None:
    connection = sqlite3.connect(data.folder / "ledger.db")
    with connection:
        connection.execute("DELETE FROM view_account_state_1")
    connection.close()

    craton("projections", "rebuild", "balances", *data.option)

    connection = sqlite3.connect(data.folder / "ledger.db")
    rows = connection.execute("SELECT row FROM view_account_state_2 WHERE id = ?", (data.ada,)).fetchall()
    connection.close()
    assert '"balance":{"amount":"70.00"' in rows[0][0]


def test_a_rebuild_is_rolled_back(data: Data) -> None:
    craton("projections", "rebuild", "balances", *data.option)

    rolled_back = craton("projections", "rollback", "balances", *data.option)

    assert (rolled_back.code, rolled_back.out) == (0, "Generation 1 of balances is live.\n")


def test_without_a_generation_before_there_is_no_rollback(data: Data) -> None:
    craton("projections", "rollback", "balances", *data.option).require_one_sentence(1, "no generation before")


def test_a_rebuild_ends_with_what_it_waits_for_and_goes_on_when_that_is_dropped(data: Data) -> None:
    connection = sqlite3.connect(data.folder / "ledger.db")
    with connection:
        connection.execute("UPDATE events SET data = '{}' WHERE position = (SELECT max(position) FROM events)")
    (position,) = connection.execute("SELECT max(position) FROM events").fetchone()
    connection.close()

    held_up = craton("projections", "rebuild", "balances", *data.option)
    assert held_up.code == 1
    assert "Generation 2 of balances isn't live: 1 events are parked for it." in held_up.err
    (listed,) = [r for r in craton("projections", "list", "--json", *data.option).records if r["building"]]
    assert (listed["live"], listed["parked_building"]) == (1, 1)
    craton("parked", "drop", "ledger", "balances@2", str(position), *data.option)

    rebuilt = craton("projections", "rebuild", "balances", *data.option)

    assert rebuilt.code == 0
    assert "generation 2 is live" in rebuilt.out


@pytest.mark.parametrize("verb", ["rebuild", "rollback"])
@pytest.mark.parametrize("name", ["nothing", "shop.balances", "ledger"])
def test_a_projection_that_is_not_there_is_wrong_use(filled: Data, verb: str, name: str) -> None:
    craton("projections", verb, name, *filled.option).require_one_sentence(2, name, "ledger.balances")


@pytest.mark.parametrize("arguments", [("projections", "rebuild"), ("parked", "retry", "ledger"), ("projections", "x")])
def test_a_missing_argument_is_wrong_use(arguments: tuple[str, ...]) -> None:
    refused = craton(*arguments)

    assert refused.code == 2
    assert "Traceback" not in refused.err


# --- parked ------------------------------------------------------------------------------------------------------


@contextmanager
def broken_balance(of: str) -> Iterator[None]:
    """As long as the block lasts, the projection of balances fails in this process for one account."""
    row = Balances.row

    def broken(projection: Balances, account: Account, event: Recorded[Event]) -> AccountState:
        if account.id == of:
            raise LookupError("the projection is broken")
        return row(projection, account, event)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Balances, "row", broken)
        yield


def park(data: Data) -> int:
    """Have a deposit parked, and one behind it. Return the position of the first."""
    place = GuardedPlace("sqlite", data.folder)

    async def deposit_twice() -> int:
        async with place.open() as bank:
            for _ in range(2):
                await bank.ledger.deposit(AccountId(data.ada), eur("1"))

            async def two_parked() -> bool:
                return len(await bank.running.store.parked("balances@1")) == 2

            await until(two_parked)
            return (await bank.running.store.parked("balances@1"))[0].position

    with broken_balance(data.ada):
        return asyncio.run(deposit_twice())


def carried_out(data: Data) -> None:
    """Run the application until it has done what the operator asked for."""

    async def run() -> None:
        async with GuardedPlace("sqlite", data.folder).open() as bank:

            async def nothing_asked_for() -> bool:
                return not any(entry.operator_request for entry in await bank.running.store.parked())

            await until(nothing_asked_for)

    asyncio.run(run())


def test_where_nothing_is_parked_nothing_is_listed(filled: Data) -> None:
    listed = craton("parked", "list", *filled.option)

    assert (listed.code, listed.out, listed.err) == (0, "", "")


def test_parked_events_are_listed_with_why(data: Data) -> None:
    position = park(data)

    listed = craton("parked", "list", "--json", *data.option)

    first, second = listed.records
    assert (first["position"], first["reader"], first["attempts"]) == (position, "balances@1", 1)
    assert "LookupError" in first["error"]
    assert (second["key"], second["attempts"], second["error"]) == (first["key"], 0, "")
    assert "balances@1" in craton("parked", "list", *data.option).out


def test_a_parked_event_is_tried_again_when_an_operator_asks(data: Data) -> None:
    position = park(data)

    noted = craton("parked", "retry", "ledger", "balances@1", str(position), *data.option)
    with broken_balance(data.ada):
        carried_out(data)

    assert (noted.code, noted.err) == (0, "")
    first, _ = craton("parked", "list", "--json", *data.option).records
    assert (first["position"], first["attempts"]) == (position, 2)


def test_a_retried_event_goes_through_when_its_cause_is_gone(data: Data) -> None:
    position = park(data)

    craton("parked", "retry", "ledger", "balances@1", str(position), *data.option)
    carried_out(data)

    assert craton("parked", "list", *data.option).out == ""
    assert craton("verify", *data.option).code == 0


def test_a_parked_event_is_given_up_when_an_operator_asks(data: Data) -> None:
    position = park(data)

    craton("parked", "drop", "ledger", "balances@1", str(position), *data.option)
    carried_out(data)

    left = [record["position"] for record in craton("parked", "list", "--json", *data.option).records]
    assert position not in left


@pytest.mark.parametrize("verb", ["retry", "drop"])
def test_what_is_not_parked_cannot_be_tried_or_given_up(filled: Data, verb: str) -> None:
    refused = craton("parked", verb, "ledger", "balances@1", "1", *filled.option)

    refused.require_one_sentence(1, "No parked event matches")


@pytest.mark.parametrize("verb", ["retry", "drop"])
def test_what_nobody_would_carry_out_is_refused(data: Data, verb: str) -> None:
    position = park(data)
    craton("projections", "rebuild", "balances", *data.option)

    refused = craton("parked", verb, "ledger", "balances@1", str(position), *data.option)

    refused.require_one_sentence(1, "No process handles balances@1", "craton projections rebuild balances")


@pytest.mark.parametrize("verb", ["retry", "drop"])
def test_a_module_that_is_not_there_is_wrong_use(filled: Data, verb: str) -> None:
    craton("parked", verb, "shop", "balances@1", "1", *filled.option).require_one_sentence(2, "shop", "ledger")


# --- timers ------------------------------------------------------------------------------------------------------


def park_timers(data: Data, *ids: str) -> None:
    """Leave timers behind that were parked by the application, as it can't read them: their command is gone."""
    place = GuardedPlace("sqlite", data.folder)

    async def park() -> None:
        async with place.open() as bank:
            store = bank.running.store
            when = datetime(2026, 1, 1, tzinfo=UTC)
            await store.write([Changeset(timers=[Timer(id, when, "gone", '{"pin":"s3cret"}', "{}") for id in ids])])

            async def all_parked() -> bool:
                return len(await store.parked_timers()) == len(ids)

            await until(all_parked)

    asyncio.run(park())


def parked_timers(data: Data) -> list[str]:
    return [record["id"] for record in craton("timers", "list", "--json", *data.option).records]


def test_where_no_timer_is_parked_nothing_is_listed(filled: Data) -> None:
    listed = craton("timers", "list", *filled.option)

    assert (listed.code, listed.out, listed.err) == (0, "", "")


def test_parked_timers_are_listed_with_why_and_without_what_may_be_secret(data: Data) -> None:
    park_timers(data, "t1")

    listed = craton("timers", "list", "--json", *data.option)

    (timer,) = listed.records
    assert (timer["module"], timer["id"], timer["operation"], timer["attempts"]) == ("ledger", "t1", "gone", 1)
    assert "there is no command 'gone'" in timer["error"]
    assert "t1" in craton("timers", "list", *data.option).out
    assert "s3cret" not in listed.out


def test_parked_timers_are_given_up_when_an_operator_asks(data: Data) -> None:
    park_timers(data, "t1", "t2", "t3")

    dropped = craton("timers", "drop", "ledger", "t1", "t3", *data.option)

    assert (dropped.code, dropped.err) == (0, "")
    assert parked_timers(data) == ["t2"]


def test_a_parked_timer_is_due_again_when_an_operator_asks(data: Data) -> None:
    park_timers(data, "t1")

    retried = craton("timers", "retry", "ledger", "t1", *data.option)

    assert (retried.code, retried.out, retried.err) == (0, "t1 is due now.\n", "")
    assert parked_timers(data) == []


@pytest.mark.parametrize("verb", ["retry", "drop"])
def test_a_timer_that_is_not_parked_cannot_be_tried_or_given_up(filled: Data, verb: str) -> None:
    craton("timers", verb, "ledger", "t1", *filled.option).require_one_sentence(1, "t1", "parked", "ledger")


@pytest.mark.parametrize("verb", ["retry", "drop"])
def test_timers_of_a_module_that_is_not_there_are_wrong_use(filled: Data, verb: str) -> None:
    craton("timers", verb, "shop", "t1", *filled.option).require_one_sentence(2, "shop", "ledger")


# --- demo ---------------------------------------------------------------------------------------------------------


def test_an_application_without_a_demo_says_so() -> None:
    craton("demo").require_one_sentence(2, "market", "no demo")


# --- up ----------------------------------------------------------------------------------------------------------


@contextmanager
def up(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", Client]]:
    """A server on a free port, up to the end of the block at the latest."""
    command = [str(CRATON), "up", "--port", "0", "--data", str(folder)]
    with subprocess.Popen(
        command, cwd=PROJECT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if found := re.search(r"API +http://127\.0\.0\.1:(\d+)", line):
                    yield process, Client("127.0.0.1", int(found[1]))
                    return
            raise AssertionError(f"it did not come up: {process.communicate()}")
        finally:
            process.kill()


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_a_server_that_is_told_to_stop_ends_without_an_error(tmp_path: Path, signal_number: int) -> None:
    with up(tmp_path) as (process, client):
        assert (await client.get("/health/ready")).status == 200

        process.send_signal(signal_number)
        _, err = await asyncio.to_thread(process.communicate, timeout=300)

        assert process.returncode == 0
        assert "Traceback" not in err


async def test_what_was_answered_is_there_after_a_restart(tmp_path: Path) -> None:
    with up(tmp_path) as (process, client):
        opened = await client.post("/v1/accounts", {"owner": "Ada", "currency": "EUR"})
        process.kill()

    with up(tmp_path) as (_, client):
        found = await client.get(opened.headers["location"], opened.position)

        assert (found.status, found.json["owner"]) == (200, "Ada")


async def test_requests_that_run_are_finished_when_the_server_is_told_to_stop(tmp_path: Path) -> None:
    with up(tmp_path) as (process, client):
        account = (await client.post("/v1/accounts", {"owner": "Ada", "currency": "EUR"})).json["id"]
        waiting = asyncio.create_task(client.get(f"/v1/accounts/{account}", {"Craton-Position": "ledger=999"}))
        for _ in range(3):  # the server takes what has come first
            await client.get("/health/live")

        process.send_signal(signal.SIGTERM)

        assert (await waiting).status == 503
        await asyncio.to_thread(process.communicate, timeout=300)
        assert process.returncode == 0


def test_a_port_that_is_taken_is_a_sentence(tmp_path: Path) -> None:
    with up(tmp_path / "one") as (_, client):
        refused = craton("up", "--port", str(client.port), "--data", str(tmp_path / "two"))

        refused.require_one_sentence(1, "Can't listen", str(client.port))
