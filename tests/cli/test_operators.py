"""Commands of operators: readers, leases, audit, many parked events at once, and events that are looked for."""

import asyncio
import getpass
from pathlib import Path
from typing import Any

import pytest

from craton.application.context import Context, entered
from market.ledger.api import Ledger
from market.ledger.events import AccountId
from tests.cli.conftest import Data, craton
from tests.kernel.operators import NOON, park
from tests.market.guarded import GuardedPlace
from tests.market.money import eur


def audited(data: Data) -> list[Any]:
    """What operators have done to the ledger, newest first."""
    return craton("audit", "--json", *data.option).records


# --- readers, leases, audit --------------------------------------------------------------------------------------


def test_the_readers_are_listed_with_how_far_they_are(filled: Data) -> None:
    listed = craton("readers", "--json", *filled.option)

    found = {entry["name"]: entry for entry in listed.records}
    assert (listed.code, listed.err) == (0, "")
    assert {"balances@1", "statement@1", "transfers@1"} <= found.keys()
    assert {(entry["kind"], entry["lag"], entry["owner"]) for entry in found.values() if "@1" in entry["name"]} == {
        ("projection", 0, None)
    }
    assert found["balances@1"]["position"] == found["balances@1"]["head"] > 0


def test_readers_and_leases_are_tables_for_people(filled: Data) -> None:
    readers, leases = craton("readers", *filled.option), craton("leases", *filled.option)

    assert readers.lines[0].split()[:5] == ["module", "name", "kind", "source", "position"]
    assert leases.lines[0].split() == ["module", "name", "owner", "number", "held"]


def test_the_leases_are_listed_with_the_process_that_had_them_last(filled: Data) -> None:
    leases = craton("leases", "--json", *filled.option).records

    (lease,) = [lease for lease in leases if lease["name"] == "balances@1"]
    assert (lease["module"], lease["held"]) == ("ledger", False)
    assert lease["owner"].count("/") == 2


def test_where_no_operator_has_done_anything_the_audit_is_empty(filled: Data) -> None:
    shown = craton("audit", "--json", *filled.option)

    assert (shown.code, shown.out, shown.err) == (0, "", "")


def test_the_audit_shows_what_was_done_by_which_user_and_why_newest_first(data: Data) -> None:
    craton("projections", "rebuild", "balances", "--reason", "a bug is gone", *data.option)
    craton("projections", "rollback", "balances", "--reason", "it was none", *data.option)

    newest, oldest = audited(data)

    assert (newest["verb"], newest["subject"], newest["reason"]) == ("roll_back_projection", "balances", "it was none")
    assert (oldest["verb"], oldest["subject"], oldest["reason"]) == ("rebuild_projection", "balances", "a bug is gone")
    assert newest["operator"].startswith(f"{getpass.getuser()}@")
    table = craton("audit", *data.option)
    assert table.lines[0].split() == ["time", "module", "operator", "verb", "subject", "reason"]
    assert "it was none" in table.lines[1]


@pytest.mark.parametrize("command", ["readers", "leases", "audit"])
def test_to_look_where_there_is_nothing_is_wrong_use(tmp_path: Path, command: str) -> None:
    craton(command, "--data", str(tmp_path)).require_one_sentence(2, "There is no data of ledger, door in")

    assert list(tmp_path.iterdir()) == []


# --- parked ------------------------------------------------------------------------------------------------------


@pytest.fixture
def parked(data: Data) -> Data:
    """Three events that are parked for the balances, two of them of one key."""

    async def fill() -> None:
        async with GuardedPlace("sqlite", data.folder).open() as bank:
            for position, key in ((1, "a"), (2, "a"), (3, "b")):
                await park(bank.running.store, "balances@1", position, key, at=NOON)

    asyncio.run(fill())
    return data


def requests(data: Data) -> dict[int, str]:
    """What was asked for, by position."""
    return {entry["position"]: entry["request"] for entry in craton("parked", "list", "--json", *data.option).records}


def test_all_parked_events_of_a_module_are_retried(parked: Data) -> None:
    answer = craton("parked", "retry", "ledger", "--reason", "the bug is gone", *parked.option)

    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "The request is recorded for 2 event(s); the process that runs the reader carries it out.\n"
    assert requests(parked) == {1: "retry", 2: "", 3: "retry"}  # the first of a key stands for those behind it
    (entry,) = audited(parked)
    assert (entry["verb"], entry["reason"]) == ("retry_parked", "the bug is gone")


def test_the_parked_events_of_one_key_are_dropped(parked: Data) -> None:
    answer = craton("parked", "drop", "ledger", "balances@1", "--key", "a", *parked.option)

    assert answer.out.startswith("The request is recorded for 2 event(s)")
    assert requests(parked) == {1: "drop", 2: "drop", 3: ""}
    assert audited(parked)[0]["subject"] == "balances@1 at 1 and 1 more"


def test_the_parked_events_of_a_key_that_there_is_not_are_not_dropped(parked: Data) -> None:
    refused = craton("parked", "drop", "ledger", "--key", "c", *parked.option)

    refused.require_one_sentence(1, "No parked event matches")
    assert set(requests(parked).values()) == {""}
    assert audited(parked) == []


@pytest.mark.parametrize("position", ["0", "-1", "x", str(2**63)])
def test_a_position_that_is_none_is_wrong_use(parked: Data, position: str) -> None:
    refused = craton("parked", "retry", "ledger", "balances@1", position, *parked.option)

    assert refused.code == 2
    assert "Traceback" not in refused.err


def test_a_reason_that_is_too_long_is_wrong_use(parked: Data) -> None:
    refused = craton("parked", "retry", "ledger", "--reason", "x" * 5_001, *parked.option)

    refused.require_one_sentence(2, "The reason can't be recorded")
    assert audited(parked) == []


# --- events ------------------------------------------------------------------------------------------------------


def test_events_are_those_of_a_type_an_actor_and_a_correlation(data: Data) -> None:
    async def deposit() -> None:
        async with GuardedPlace("sqlite", data.folder).open() as bank:
            with entered(Context(actor="eve", correlation="letter-1")):
                await bank.app.api(Ledger).deposit(AccountId(data.ada), eur("5"))

    asyncio.run(deposit())

    def found(*options: str) -> list[str]:
        return [event["type"] for event in craton("events", "--json", *options, *data.option).records]

    assert found("--type", "AccountOpened") == ["AccountOpened"] * len(found("--type", "AccountOpened")) != []
    of_eve = found("--actor", "eve")
    assert of_eve == found("--correlation", "letter-1") != []
    assert "MoneyCredited" in of_eve
    assert found("--actor", "eve", "--type", "MoneyCredited") == ["MoneyCredited"]
    assert found("--actor", "nobody") == found("--type", "Nothing") == found("--correlation", "x") == []


def test_what_operators_do_is_among_the_events(data: Data) -> None:
    craton("projections", "rebuild", "balances", "--reason", "a bug is gone", *data.option)

    (event,) = craton("events", "--type", "OperatorActed", "--json", *data.option).records

    assert (event["stream"], event["data"]["reason"]) == ("operator_log-all", "a bug is gone")
    assert craton("events", "operator_log-all", "--json", *data.option).records == [event]
