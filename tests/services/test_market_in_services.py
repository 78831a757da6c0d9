"""The market as three services behind a gateway: it is used as in one process, and whatever is killed comes back."""

import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from craton.testing.crash import NoAnswer, Reply, Script, Sent, drive, repeat
from tests.crash.conftest import ROOT, verify
from tests.crash.market_shop import MARKET, Market, MarketDay, balanced
from tests.crash.test_market_crashes import ORDERS
from tests.services.processes import SERVICES, is_alive, processes

TOPOLOGY: Final = Path(__file__).with_name("three.toml")
SECONDS: Final = 120


@pytest.fixture
def market(folder: Path) -> Iterator[Market]:
    with Market(data=folder, folder=ROOT, topology=TOPOLOGY) as market:
        yield market


def ask(market: Market, path: str) -> Reply | None:
    try:
        return market.get(path)
    except NoAnswer:
        return None


def until_answered(market: Market, path: str) -> Reply:
    deadline = time.monotonic() + SECONDS
    while (reply := ask(market, path)) is None or reply.status >= 500:
        assert time.monotonic() < deadline, reply
        time.sleep(0.05)
    return reply


def test_each_service_answers_its_own_routes_behind_one_address(market: Market) -> None:
    day = MarketDay(1)
    day.open(market)

    assert market.get("/v1/products").body["total"] == 3  # shop
    assert market.get("/v2/wallet").status == 200  # money
    assert market.get("/v1/users").body["total"] == 2  # people
    assert market.get("/v1/admin/readers").status == 200
    assert market.get("/nothing").body["code"] == "not-found"
    assert market.get("/metrics").status == 404


def test_the_description_of_the_api_has_the_routes_of_all_services(market: Market) -> None:
    paths = market.get("/openapi.json").body["paths"]

    assert {"/v1/orders", "/v2/wallet", "/v1/users", "/v1/recipes"} <= paths.keys()


def test_operators_see_all_services_from_one_and_which_does_not_answer(market: Market) -> None:
    MarketDay(1).open(market)
    everything = market.get("/v1/admin/leases")
    assert {lease["module"] for lease in everything.body} >= {"ordering", "payments", "identity"}
    assert "craton-missing" not in everything.headers
    os.kill(processes(market)["money.1"], signal.SIGSTOP)
    try:
        began = time.monotonic()
        without = market.get("/v1/admin/leases")
        took = time.monotonic() - began
    finally:
        os.kill(processes(market)["money.1"], signal.SIGCONT)

    assert without.headers["craton-missing"] == "money"
    assert {lease["module"] for lease in without.body} >= {"ordering", "identity"}
    assert "payments" not in {lease["module"] for lease in without.body}
    assert took < SECONDS


def test_the_gateway_says_whose_address_a_request_has_and_not_the_client(folder: Path) -> None:
    with Market(data=folder, folder=ROOT, topology=TOPOLOGY, settings={"CRATON_LIMITS": "on"}) as market:
        answers = [market.post("/v1/users", {}, {"x-forwarded-for": f"192.0.2.{n}"}) for n in range(31)]

    assert {answer.status for answer in answers[:30]} == {422}
    assert (answers[30].status, answers[30].body["code"]) == (429, "too-many-requests")
    assert answers[30].headers["retry-after"]


def test_a_service_that_is_frozen_is_waited_for_and_nothing_is_lost(market: Market) -> None:
    day = MarketDay(12)
    day.open(market)
    frozen = processes(market)["money.1"]
    os.kill(frozen, signal.SIGSTOP)
    thawing = threading.Timer(4.0, os.kill, (frozen, signal.SIGCONT))
    thawing.start()

    day.sent += drive(market, day.scripts(market, 4), until=lambda: day.all_drawn)
    thawing.join()
    repeat(market, day.sent)

    books = balanced(market)
    assert day.wrong_endings(books.orders, outage=True) == {}
    assert books.problems() == []


@pytest.mark.parametrize("name", ["shop.1", "money.1", "people.1", "gateway"])
def test_what_is_killed_is_started_again(market: Market, name: str) -> None:
    before = processes(market)

    os.kill(before[name], signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    while name not in (now := processes(market)) or now[name] == before[name]:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    for path in ("/v1/products", "/v2/wallet", "/v1/users"):
        until_answered(market, path)
    assert {other: now[other] for other in before if other != name} == {
        other: before[other] for other in before if other != name
    }


def test_it_stops_as_a_whole(market: Market) -> None:
    running = processes(market)

    assert market.stop() == 0

    assert not any(is_alive(pid) for pid in running.values())


def test_a_port_that_is_taken_is_told_and_nothing_is_left_running(market: Market, folder: Path) -> None:
    second = folder / "second"
    second.mkdir()
    topology = second / "taken.toml"
    topology.write_text(TOPOLOGY.read_text().replace("listen = 0", f"listen = {market.port}"))

    other = Market(data=second, folder=ROOT, topology=topology)
    try:
        other.launch()
        assert other.wait() == 1
        assert f"the gateway can't listen on 127.0.0.1:{market.port}".casefold() in other.log.casefold()
    finally:
        other.close()


def test_when_the_supervisor_is_killed_all_end(market: Market) -> None:
    running = processes(market)

    market.kill()

    deadline = time.monotonic() + SECONDS
    while any(is_alive(pid) for pid in running.values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


DAYS: Final = (
    "shop=commit.written:120,saga.planned:30,subscription.written:60 "
    "money=call.committed:50,saga.reported:25,commit.durable:50 "
    "people=policy.reacted:25,subscription.handled:60,commit.durable:40",
    "shop=saga.acted:60,policy.reacted:20,lease.taken:9 "
    "money=policy.reacted:10,subscription.read:60,saga.planned:20 "
    "people=subscription.written:40,policy.reacted:20,lease.taken:9",
)
"""Where each service dies on a day, one time after the other, in the middle of the load."""


@pytest.mark.parametrize("points", DAYS)
def test_each_service_dies_at_its_crash_points_under_load_and_every_order_ends_well(points: str, folder: Path) -> None:
    with Market(data=folder, folder=ROOT, topology=TOPOLOGY, crash_at=points) as market:
        deaths = survived(market, MarketDay(2 * ORDERS))
    code, said = verify(folder, "sqlite", MARKET)
    assert code == 0, said
    assert all(deaths[name] >= 2 for name in SERVICES), deaths


def survived(market: Market, day: MarketDay, *others: Script) -> Counter[str]:
    """Order all day, with others beside, and look at what has come of it. Returns how often each service has died."""
    day.open(market)
    day.sent += drive(market, [*day.scripts(market, 8), *others], until=lambda: day.all_drawn)
    repeat(market, day.sent)
    books = balanced(market)
    assert day.wrong_endings(books.orders, outage=True) == {}
    assert books.problems() == []
    assert books.takings() == books.due() > 0
    assert books.endings.keys() >= {"confirmed", "cancelled"}
    require_the_same_answers(market, day)
    deaths = Counter(re.findall(r'"name": "(\w+)(?:\.\d)?", "exit_code": -9', market.log))
    assert market.stop() == 0
    return deaths


def require_the_same_answers(market: Market, day: MarketDay) -> None:
    """Send every command again, with its key."""
    with market.client() as client:
        for entry in day.sent:
            again = client.send(entry.command)
            assert (again.status, again.body) == (entry.reply.status, entry.reply.body)  # type: ignore[union-attr]


def test_modules_move_from_one_process_to_services_and_back_under_load_with_their_data_where_they_are(
    folder: Path,
) -> None:
    day = MarketDay(ORDERS)
    with Market(data=folder, folder=ROOT) as one:
        day.open(one)
        day.sent += driven_until_stopped(one, day)
    with Market(data=folder, folder=ROOT, topology=TOPOLOGY, token=day.token) as three:
        day.go_on()
        day.sent += driven_until_stopped(three, day)
    with Market(data=folder, folder=ROOT, token=day.token) as again:
        repeat(again, day.sent)
        books = balanced(again)
        assert day.wrong_endings(books.orders, outage=True) == {}
        assert books.problems() == []
        assert again.stop() == 0
    code, said = verify(folder, "sqlite", MARKET)
    assert code == 0, said


def driven_until_stopped(market: Market, day: MarketDay) -> list[Sent]:
    """Order until half of the orders are placed; then stop the market, in the middle of their checkouts."""
    stopping = threading.Thread(target=lambda: stop_when(market, day))
    stopping.start()
    sent = drive(market, day.scripts(market, 8), until=lambda: market.exit_code is not None)
    stopping.join()
    return sent


def stop_when(market: Market, day: MarketDay) -> None:
    before = len(day.wish_of)
    while len(day.wish_of) < before + ORDERS // 2:
        time.sleep(0.01)
    assert market.stop() == 0
