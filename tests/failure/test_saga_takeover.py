"""Two shops on one Postgres: both take orders, one of them drives the sagas, and when it is killed the other does."""

import os
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from craton.testing.crash import Process, Sent, drive, repeat
from tests.crash.conftest import verify
from tests.crash.databases import run_sql
from tests.crash.shop import GATE
from tests.crash.shopping import (
    SHOP,
    Found,
    Logs,
    Shopping,
    Wish,
    expected,
    sagas_in_flight,
    total,
    wait_until_settled,
    wrong_histories,
)
from tests.failure.conftest import Start

ORDERS = 160
IN_FLIGHT = 1_000
PURSES = 49
LEASE_SECONDS = 10.0
FLIGHT_SECONDS = 90.0
TAKEOVER_SECONDS = 120.0


def owner_and_heir(processes: list[Process], database: str) -> tuple[Process, Process]:
    """The process that drives the sagas, and the other one."""
    deadline = time.monotonic() + LEASE_SECONDS
    while True:
        rows = run_sql(database, "SELECT owner FROM shop_orders.leases WHERE name = 'sagas'")
        pids = {int(row["owner"].split("/")[1]) for row in rows}
        owners = [process for process in processes if process.pid in pids]
        if owners:
            return owners[0], next(process for process in processes if process is not owners[0])
        assert time.monotonic() < deadline, "nobody drives the sagas"
        time.sleep(0.02)


def order_at_both(shopping: Shopping, processes: list[Process]) -> None:
    """Put half of the load on each, until all is asked for or a process is dead."""
    sent: list[list[Sent]] = [[], []]

    def load(place: int, process: Process) -> None:
        sent[place] = drive(
            process, shopping.scripts(process, 4), seconds=FLIGHT_SECONDS, until=lambda: shopping.all_drawn
        )

    threads = [threading.Thread(target=load, args=pair) for pair in enumerate(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shopping.sent += sent[0] + sent[1]


def assert_settled(shopping: Shopping, heir: Process, database: str, folder: Path) -> None:
    """All orders have come to what they must, everything once, by the work of the heir alone."""
    orders = expected(shopping.sent)
    found = Found.look(heir, orders)
    (row,) = run_sql(database, "SELECT owner FROM shop_orders.leases WHERE name = 'sagas'")
    assert int(row["owner"].split("/")[1]) == heir.pid
    assert heir.stop() == 0
    found.read_logs(database, folder)
    assert wrong_histories(orders, found) == {}
    assert set(found.orders.values()) <= {"confirmed", "cancelled"}
    statuses = {"confirmed": "completed", "cancelled": "compensated"}
    assert found.sagas == {order: statuses[ending] for order, ending in found.orders.items()}
    assert {state["reserved"] for state in found.articles.values()} == {0}
    confirmed = Counter(orders[order].article for order, ending in found.orders.items() if ending == "confirmed")
    assert {article: state["sold"] for article, state in found.articles.items() if state["sold"]} == confirmed
    assert (found.parked, found.timers) == (0, 0)
    assert found.order_book == found.orders


def test_when_the_owner_of_the_sagas_is_killed_the_other_finishes_them_all(
    start: Start, database: str, tmp_path: Path
) -> None:
    processes = [start(store=database, app=SHOP), start(store=database, app=SHOP)]
    shopping = Shopping(ORDERS)
    shopping.open(processes[0])
    owner, heir = owner_and_heir(processes, database)
    in_flight: list[int] = []

    def kill() -> None:
        while shopping.drawn < ORDERS // 2:
            time.sleep(0.01)
        owner.kill()
        in_flight.append(sagas_in_flight(database, tmp_path))

    killer = threading.Thread(target=kill)
    killer.start()
    order_at_both(shopping, [owner, heir])
    killer.join()

    assert owner.killed
    assert in_flight[0] > 10
    assert any(entry.first is None for entry in shopping.sent)
    repeat(heir, shopping.sent)
    assert_settled(shopping, heir, database, tmp_path)
    code, said = verify(tmp_path, database, SHOP)
    assert code == 0, said


def test_a_thousand_checkouts_in_flight_are_taken_over_by_the_other_and_all_end(
    start: Start, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six of ten wait for the event that their money came, four run a step that takes long."""
    gate = tmp_path / "gate"
    processes = [start(store=database, app=SHOP, environment={GATE: str(gate)}) for _ in range(2)]
    wishes = [Wish("hesitant", "apple")] * 6 + [Wish("good", "vase")] * 4
    shopping = Shopping(IN_FLIGHT, wishes, pause=0, purses=PURSES)
    shopping.open(processes[0])
    owner, heir = owner_and_heir(processes, database)
    order_at_both(shopping, [owner, heir])
    assert all(entry.reply is not None for entry in shopping.sent)
    wait_until_all_are_held_up(heir, database, tmp_path)

    owner.kill()
    killed_at = time.monotonic()
    in_flight = sagas_in_flight(database, tmp_path)
    gate.touch()
    for purse in range(PURSES):
        assert heir.post(f"/v1/purses/hesitant-{purse}/settlements", {}).ok
    with heir.client() as client:
        while total(client, "/v1/sagas?status=running"):
            assert time.monotonic() < killed_at + TAKEOVER_SECONDS, heir.log[-5_000:]
            time.sleep(0.02)
        seconds = time.monotonic() - killed_at
        wait_until_settled(client, IN_FLIGHT)

    assert in_flight == IN_FLIGHT
    assert_settled(shopping, heir, database, tmp_path)
    if os.environ.get("CRATON_CRASH_TABLE") == "1":
        with capsys.disabled():
            print(f"\n{in_flight} checkouts in flight: the last one ended {seconds:.1f} s after the kill")


def wait_until_all_are_held_up(heir: Process, database: str, folder: Path) -> None:
    """Until each checkout has taken its money, and waits for its event or for the packers."""
    deadline = time.monotonic() + FLIGHT_SECONDS
    with Logs(database, folder) as logs:
        while True:
            charged = sum(fact.kind == "Charged" for fact in logs.facts("till"))
            reserved = sum(fact.kind == "Reserved" for fact in logs.facts("stock"))
            if charged == reserved == IN_FLIGHT:
                return
            assert time.monotonic() < deadline, (charged, reserved, heir.log[-5_000:])
            time.sleep(0.2)
