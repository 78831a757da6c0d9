"""Deaths that no named point foresees, and what should have happened while nobody lived."""

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import pytest

from craton.testing.crash import Process, drive, repeat
from tests.crash.bank import Bank, assert_as_asked, pages, transfer_command
from tests.crash.conftest import LEDGER, ROOT, verify
from tests.crash.databases import fresh_database, turn

DEATHS = 3


@pytest.fixture
def url(store: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of each kind of store in turn."""
    if store == "sqlite":
        yield "sqlite"
        return
    with turn(), fresh_database(request.getfixturevalue("postgres_url")) as database:
        yield database


def test_a_process_killed_again_and_again_at_any_moment_loses_nothing(url: str, tmp_path: Path) -> None:
    with Process(data=tmp_path, store=url, folder=ROOT, app=LEDGER) as first:
        bank = Bank.open(first)
        assert first.stop() == 0
    for _ in range(DEATHS):
        with Process(data=tmp_path, store=url, folder=ROOT, app=LEDGER) as doomed:
            threading.Timer(random.uniform(0.05, 0.6), doomed.kill).start()
            bank.sent += drive(doomed, bank.scripts)
            assert doomed.killed
    with Process(data=tmp_path, store=url, folder=ROOT, app=LEDGER) as healed:
        repeat(healed, bank.sent)
        assert_as_asked(healed, bank)
        assert healed.stop() == 0
    code, said = verify(tmp_path, url)
    assert code == 0, said


def test_a_process_killed_while_it_repairs_is_repaired_by_the_next(url: str, tmp_path: Path) -> None:
    with Process(data=tmp_path, store=url, folder=ROOT, app=LEDGER, crash_at="subscription.handled:100") as first:
        bank = Bank.open(first)
        bank.sent += drive(first, bank.scripts)
        assert first.wait() == -SIGKILL
    with Process(data=tmp_path, store=url, folder=ROOT, app=LEDGER, crash_at="subscription.handled") as doomed_again:
        assert doomed_again.wait() == -SIGKILL
    with Process(data=tmp_path, store=url, folder=ROOT, app=LEDGER) as healed:
        repeat(healed, bank.sent)
        assert_as_asked(healed, bank)


def test_a_hold_that_ran_out_while_the_process_was_dead_is_let_go_once(url: str, tmp_path: Path) -> None:
    with Process(data=tmp_path, store=url, folder=ROOT, app=LEDGER) as doomed:
        bank = Bank.open(doomed)
        payer, payee = bank.accounts[:2]
        with doomed.client() as client:
            held = client.send(transfer_command(payer, payee, 500, pending=True, expires_in=1))
            assert held.status == 201
        doomed.kill()
    time.sleep(1.1)
    with Process(data=tmp_path, store=url, folder=ROOT, app=LEDGER) as healed, healed.client() as client:
        deadline = time.monotonic() + 300
        while (shown := client.get(f"/v1/transfers/{held.body['id']}")).body.get("status") != "voided":
            assert time.monotonic() < deadline, shown
            time.sleep(0.05)
        released = [event for event in pages(client, f"/v1/accounts/{payer}/events") if event["type"] == "HoldReleased"]
        assert len(released) == 1
        late = client.post(f"/v1/transfers/{held.body['id']}/post", {})
        assert (late.status, late.body["code"]) == (409, "hold-resolved")
