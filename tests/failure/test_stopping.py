"""SIGTERM under load, and the start after it."""

import signal
import socket
import time

from craton.adapters.http.server import FINISH_SECONDS
from craton.testing.crash import repeat
from tests.crash.bank import Bank, Found, assert_as_asked, caught_up, drive_until
from tests.crash.conftest import verify
from tests.crash.logs import Logs
from tests.failure.conftest import Start


def test_told_to_stop_under_load_it_answers_what_it_has_accepted_and_ends_with_exit_code_0(
    start: Start, store: str
) -> None:
    market = start(store=store)
    bank = Bank.open(market)

    bank.sent += drive_until(market, bank.scripts, 50, then=lambda: market.signal(signal.SIGTERM))

    assert market.wait() == 0
    assert "Traceback" not in market.log
    hung_up = {entry.command.key for entry in bank.sent if entry.first is None}

    again = start(store=store)
    ran = {fact[0] for fact in Found.look(again, bank).facts}
    assert ran & hung_up == set(), "a command took effect and its caller was not answered"
    repeat(again, bank.sent)
    assert_as_asked(again, bank)


def test_told_to_stop_while_nothing_happens_it_ends_at_once(start: Start, store: str) -> None:
    began = time.monotonic()
    market = start(store=store)
    Bank.open(market)
    up = time.monotonic()
    assert market.stop() == 0
    assert time.monotonic() - up < up - began + FINISH_SECONDS / 2


def test_told_to_stop_while_a_client_sends_half_a_request_it_ends_soon(start: Start) -> None:
    market = start()
    with socket.create_connection(("127.0.0.1", market.port)) as idle:
        idle.sendall(b"POST /v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        idle.sendall(b"Content-Length: 99\r\n\r\n{")
        time.sleep(0.2)
        assert market.stop() == 0


def test_held_up_by_code_that_does_not_end_it_is_ended_by_force_and_shows_where_it_stood(start: Start) -> None:
    market = start(app="tests.failure.held_up_app:app")
    assert market.get("/health/live").status == 200

    assert market.stop() == 1
    assert "most recent call first" in market.log


def test_interrupted_by_the_keyboard_it_ends_with_exit_code_0(start: Start) -> None:
    market = start()
    market.signal(signal.SIGINT)
    assert market.wait() == 0
    assert "Traceback" not in market.log


def test_a_second_start_finds_everything_as_it_was(start: Start, store: str) -> None:
    first = start(store=store)
    bank = Bank.open(first)
    bank.sent += drive_until(first, bank.scripts, 50)
    before = Found.look(first, bank)
    assert first.stop() == 0

    second = start(store=store)
    after = Found.look(second, bank)

    assert after == before
    assert_as_asked(second, bank)
    with second.client() as client:
        assert {entry["live"] for entry in caught_up(client)} == {1}
    assert second.stop() == 0
    code, said = verify(second.data, store)
    assert code == 0, said


def test_after_a_clean_stop_the_views_go_on_at_once(start: Start, store: str) -> None:
    first = start(store=store)
    Bank.open(first)
    assert first.stop() == 0
    with Logs(store, first.data) as logs:
        leases = logs.rows("ledger", "SELECT name, CAST(expires AS text) FROM {schema}.lease_owners")
    kept = [name for name, expires in leases if expires not in ("0.0", "-infinity")]
    assert leases and not kept, "the next process would have to wait until a lease runs out"

    second = start(store=store)
    bank = Bank.open(second)
    with second.client() as client:
        caught_up(client)
        assert client.get(f"/v1/accounts/{bank.accounts[0]}").status == 200
