"""The whole market is killed by SIGKILL in the middle of its checkouts and cancellations, under the load of eight
clients, again and again: at one named crash point that concerns it after the other. In each store the next process
takes over from the dead one; on one Postgres also one that has run beside it and goes on alone.

Each client gives each of its commands an idempotency key; what no dead process had answered is repeated with it in the
end. Each test below looks at the same crashes, when nothing is left to be done.
"""

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final

import pytest

from craton.testing.crash import Reply, Sent, drive, repeat
from tests.crash.conftest import ROOT, Result, Runs, side_by_side, verify
from tests.crash.logs import failures_in
from tests.crash.market_shop import DELIVERED, MARKET, MODULES, WISHES, Books, Market, MarketDay, MarketLogs, balanced

ORDERS: Final = 3 * len(WISHES)
CLIENTS: Final = 8

# How often the point is passed before it kills: in the middle of the load. A process that takes over from a dead one
# passes it while it ends what that one had begun, too.
MARKET_COUNTS: Final = {
    "call.committed": 550,
    "commit.written": 300,
    "commit.durable": 300,
    "saga.planned": 200,
    "saga.acted": 200,
    "saga.reported": 200,
    "policy.reacted": 130,
    "subscription.written": 450,
    "timer.read": 3,
    "lease.taken": 6,
}
DAYS: Final = ("timer.read lease.taken call.committed saga.planned policy.reacted",
               "commit.written saga.acted subscription.written commit.durable saga.reported")  # fmt: skip
"""The points at which the processes of a day die, one after the other. A first process takes its leases before the
load, so that one that takes over must die of that."""
BESIDE: Final = "commit.durable saga.acted policy.reacted subscription.written"
"""Where one of two dies: elsewhere it makes no difference but who goes on."""
SITES: Final = [*((place, day) for place in ("sqlite", "postgres") for day in DAYS), ("postgres-two", BESIDE)]


@dataclass
class Death:
    """A process that was killed at a point, and what it left."""

    point: str
    killed: bool
    exit_code: int | None
    log: str
    in_flight: int
    """How many checkouts had begun and not ended."""
    ended: int


@dataclass
class MarketCrash:
    """A day in which the market has crashed again and again, and what had become of all orders in the end."""

    place: str
    day: MarketDay
    deaths: list[Death] = field(default_factory=list)
    log_after: str = ""
    answered: list[Sent] = field(default_factory=list)
    unanswered: list[Sent] = field(default_factory=list)
    replays: list[tuple[Sent, Reply]] = field(default_factory=list)
    """Each answered command, and the answer to its repetition afterwards."""
    books: Books = field(default_factory=Books)
    shown: dict[str, Any] = field(default_factory=dict)
    """What the last process shows of each product's stock."""
    stopped_with: int | None = None
    verified_with: int | None = None
    verified: str = ""


def crash_the_market(points: str, place: str, url: str, folder: Path) -> MarketCrash:
    """Kill markets under load, one after the other, each at a point; have the last one finish; repeat; look."""
    beside = place == "postgres-two"
    day = MarketDay(2 * ORDERS if beside else ORDERS)
    crash = MarketCrash(place, day)
    with ExitStack() as stack:

        def start(point: str | None) -> Market:
            # One that runs beside another ends first what that one has begun, while its own heir starts.
            crash_at = point and f"{point}:{MARKET_COUNTS[point] * (3 if beside else 2) // 2}"
            market = Market(data=folder, store=url, folder=ROOT, token=day.token, crash_at=crash_at)
            stack.callback(market.close)
            market.launch()
            # One that takes over may come to its point before it serves.
            assert market.comes_up() or (point and market.killed), market.log
            return market

        heirs = iter([*points.split(), None])
        market = start(next(heirs))
        day.open(market)
        for point in points.split():
            if beside:
                heir = start(next(heirs))
                left = order_at_both(day, market, heir)
            else:
                if market.exit_code is None:
                    day.sent += drive(market, day.scripts(market, CLIENTS))
                left = books_left_by(market)
                heir = start(next(heirs))
            ended = sum(order.ended for order in left.orders.values())
            crash.deaths.append(Death(point, market.killed, market.exit_code, market.log, left.in_flight, ended))
            day.go_on()
            market = heir
        crash.answered = [entry for entry in day.sent if entry.first is not None and entry.first.final]
        crash.unanswered = [entry for entry in day.sent if entry.first is None]
        repeat(market, day.sent)
        with market.client() as client:
            crash.replays = [(entry, client.send(entry.command)) for entry in crash.answered]
        crash.books = balanced(market)
        crash.shown = {product: market.get(f"/v1/products/{product}/stock").body for product in DELIVERED}
        crash.stopped_with, crash.log_after = market.stop(), market.log
    crash.verified_with, crash.verified = verify(folder, url, MARKET)
    return crash


def books_left_by(dead: Market) -> Books:
    with MarketLogs(dead.store, dead.data) as logs:
        return logs.books(dead.mails)


def order_at_both(day: MarketDay, doomed: Market, other: Market) -> Books:
    """Put half of the load on each, until one is dead and all is asked for; return the books of that moment."""
    sent: list[Sent] = []
    left: list[Books] = []

    def load() -> None:
        sent.extend(drive(doomed, day.scripts(doomed, CLIENTS // 2)))
        left.append(books_left_by(doomed))

    thread = threading.Thread(target=load)
    thread.start()
    day.sent += drive(other, day.scripts(other, CLIENTS // 2), until=lambda: not thread.is_alive())
    thread.join()
    day.sent += sent
    return left[0]


@pytest.fixture(params=SITES, ids=" at ".join, scope="session")
def site(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A place and the points at which processes die there."""
    found: tuple[str, str] = request.param
    return found


@pytest.fixture(scope="session")
def market_crashes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Result[MarketCrash]]:
    """Begins all crashes that the session's tests ask for; with CRATON_CRASH_TABLE=1 it shows what came of them."""
    runs: Runs[MarketCrash] = {}
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    wanted: set[Any] = {item.callspec.params["site"] for item in items if "market_crash" in item.fixturenames}
    if os.environ.get("CRATON_CRASH_TABLE") == "1":
        request.config.pluginmanager.register(Table(runs))
    with side_by_side(tmp_path_factory, wanted, crash_the_market, runs) as result:
        yield result


class Table:
    """Shows what the crashes came to, at the end of the session."""

    def __init__(self, runs: Runs[MarketCrash]) -> None:
        self._runs = runs

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section("crashes of the market")
        for (place, points), run in self._runs.items():
            failed = run.cancelled() or run.exception() is not None
            terminalreporter.write_line(f"{place}: {f'{points}: FAILED' if failed else outcome(run.result())}")


def outcome(crash: MarketCrash) -> str:
    whole = not crash.books.problems() and crash.verified_with == 0
    deaths = "".join(
        f"\n  {death.point:<22}{death.in_flight:>4} in flight, {death.ended} ended" for death in crash.deaths
    )
    endings = ", ".join(f"{count} {status}" for status, count in sorted(crash.books.endings.items()))
    return (
        f"{len(crash.answered)} answered, {len(crash.unanswered)} not, {len(crash.books.orders)} orders: {endings};"
        f" {'balanced' if whole else 'NOT BALANCED'}{deaths}"
    )


@pytest.fixture(scope="session")
def market_crash(
    site: tuple[str, str], market_crashes: Result[MarketCrash], request: pytest.FixtureRequest
) -> MarketCrash:
    """Markets that were killed under load at these points, in this place, and the one that went on."""
    place, points = site
    server = "sqlite" if place == "sqlite" else request.getfixturevalue("postgres_url")
    return market_crashes(place, points, server)


def test_the_market_dies_by_sigkill_in_the_middle_of_its_checkouts(market_crash: MarketCrash) -> None:
    for death in market_crash.deaths:
        assert death.killed, death.point
        assert death.exit_code == -SIGKILL, death.log
        assert death.in_flight > 0, f"at {death.point} the checkouts had ended, or not begun"
        assert death.ended > 0, f"at {death.point} no order had come to an end"


def test_every_order_that_was_answered_or_repeated_is_there_once_and_no_other(market_crash: MarketCrash) -> None:
    placed = market_crash.day.placed
    asked = [entry for entry in market_crash.day.sent if entry.command.path == "/v1/orders"]
    assert len(placed) == len(asked) > 10
    assert market_crash.books.orders.keys() == placed.keys()


def test_what_was_answered_and_is_repeated_gets_its_first_answer_again(market_crash: MarketCrash) -> None:
    for entry, again in market_crash.replays:
        assert entry.first is not None
        assert (again.status, again.body) == (entry.first.status, entry.first.body)
        assert again.headers.get("idempotency-replayed") == "true"


def test_every_order_ends_as_those_were_told_who_asked_for_it(market_crash: MarketCrash) -> None:
    assert market_crash.day.wrong_endings(market_crash.books.orders, outage=True) == {}
    assert market_crash.books.endings.keys() >= {"confirmed", "cancelled"}


def test_goods_money_parcels_and_letters_are_where_the_orders_have_them(market_crash: MarketCrash) -> None:
    assert market_crash.books.problems() == []
    assert market_crash.books.takings() == market_crash.books.due() > 0


def test_the_shelves_show_what_the_orders_have_left(market_crash: MarketCrash) -> None:
    sold = sum((order.goods for order in market_crash.books.orders.values() if order.bought), Counter[str]())
    for product, count in DELIVERED.items():
        shown = {name: market_crash.shown[product][name] for name in ("on_hand", "reserved", "available")}
        assert shown == {"on_hand": count - sold[product], "reserved": 0, "available": count - sold[product]}


def test_the_audit_of_each_module_finds_no_differences(market_crash: MarketCrash) -> None:
    assert market_crash.verified_with == 0, market_crash.verified
    for module in MODULES:
        assert f"{module}: agrees with its log" in market_crash.verified


def test_the_one_that_goes_on_fails_at_nothing(market_crash: MarketCrash) -> None:
    assert market_crash.stopped_with == 0
    assert failures_in(market_crash.log_after) == []
