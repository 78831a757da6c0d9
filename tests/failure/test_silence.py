"""Postgres falls silent without a word: a service says so in time, ends when it is told to, and finds its way back."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from craton.testing.crash import NoAnswer, Process, Reply
from craton.testing.faults import Line
from tests.crash.bank import Bank, deposit_command
from tests.failure.conftest import Start

PATIENCE_SECONDS = 60
"""Much more than anything here may take, and less than a process that hangs."""


@pytest.fixture
def line(database: str) -> Iterator[Line]:
    with Line(database) as line:
        yield line


def in_the_background(work: Callable[[], Any]) -> None:
    def run() -> None:
        try:
            work()
        except NoAnswer:
            """The process was told to stop meanwhile."""

    threading.Thread(target=run, daemon=True).start()


def ends_well(market: Process) -> None:
    assert market.stop(PATIENCE_SECONDS) == 0
    assert "Traceback" not in market.log
    assert "background task has died" not in market.log


def test_told_to_stop_while_postgres_is_silent_and_nothing_happens_it_ends(start: Start, line: Line) -> None:
    market = start(store=line.url)
    Bank.open(market)
    line.black_hole()
    time.sleep(1)  # the loops in the background have noticed, or wait for an answer

    ends_well(market)


@pytest.mark.parametrize("word", [b"12345.67", b"COMMIT"], ids=["within a statement", "within a transaction"])
def test_told_to_stop_while_it_waits_for_an_answer_of_postgres_it_ends_and_the_caller_is_told(
    start: Start, line: Line, word: bytes
) -> None:
    market = start(store=line.url)
    bank = Bank.open(market)
    answers: list[Reply] = []
    line.black_hole_at(word)
    in_the_background(lambda: answers.append(market.post(*_deposit(bank))))
    assert line.fell_silent.wait(PATIENCE_SECONDS)

    ends_well(market)

    assert [(answer.status, answer.body.get("maybe_executed")) for answer in answers] in ([(503, True)], [(201, None)])


def test_told_to_stop_while_it_connects_to_a_silent_postgres_it_ends(start: Start, line: Line) -> None:
    market = start(store=line.url)
    bank = Bank.open(market)
    line.black_hole()
    line.cut()
    in_the_background(lambda: market.get(f"/v1/accounts/{bank.accounts[0]}"))
    time.sleep(1)

    ends_well(market)


def test_while_postgres_is_silent_it_is_not_ready_and_a_request_is_answered_within_its_deadline(
    start: Start, line: Line
) -> None:
    market = start(store=line.url)
    bank = Bank.open(market)
    line.black_hole()
    began = time.monotonic()

    ready = market.get("/health/ready")
    deposit = market.post(*_deposit(bank))
    read = market.get(f"/v1/accounts/{bank.accounts[0]}")
    metrics = market.get("/metrics")

    assert (ready.status, ready.body["failing"]) == (503, ["door", "ledger"])
    assert {deposit.status, read.status} <= {503, 504}
    assert metrics.status == 200
    assert time.monotonic() - began < 2 * (2 + 10 + 10 + 5)


def test_connections_that_the_network_has_forgotten_are_replaced(start: Start, line: Line) -> None:
    market = start(store=line.url)
    bank = Bank.open(market)
    line.forget()

    until = time.monotonic() + PATIENCE_SECONDS
    while market.post(*_deposit(bank)).status != 201:
        assert time.monotonic() < until
    balance = market.get(f"/v1/accounts/{bank.accounts[0]}")

    assert balance.status == 200
    assert market.get("/health/ready").status == 200
    ends_well(market)


def _deposit(bank: Bank) -> tuple[str, Any]:
    command = deposit_command(bank.accounts[0], 12_345_67)
    return command.path, command.body
