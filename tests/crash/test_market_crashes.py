"""The whole market is killed by SIGKILL in the middle of its checkouts and cancellations, under the load of eight
clients, at each named crash point that concerns them: in each store, where it is started again, and as one of two
processes on one Postgres, where it isn't and the other goes on alone.

Each client gives each of its commands an idempotency key, and repeats with it what the dead process had not answered.
Each test below looks at the same crashes, when nothing is left to be done.
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

# How often the point is passed before it kills: in the middle of the load. Leases are taken at the start, so there it
# is a second process that dies: the one that takes over from a first one, which was killed under load.
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
TWO: Final = ("commit.durable", "saga.acted", "policy.reacted", "subscription.written")
"""Where one of two dies: elsewhere it makes no difference but who goes on."""
SITES: Final = [
    *((place, point) for place in ("sqlite", "postgres") for point in MARKET_COUNTS),
    *(("postgres-two", point) for point in TWO),
]


@dataclass
class MarketCrash:
    """A crash of the market, and what had become of all orders when its heir had done with them."""

    point: str
    place: str
    day: MarketDay
    killed: bool = False
    exit_code: int | None = None
    in_flight: int = 0
    """How many checkouts had begun and not ended when it died, or when those came to it that another one had begun."""
    ended: int = 0
    log_before: str = ""
    log_after: str = ""
    answered: list[Sent] = field(default_factory=list)
    unanswered: list[Sent] = field(default_factory=list)
    replays: list[tuple[Sent, Reply]] = field(default_factory=list)
    """Each answered command, and the answer to its repetition afterwards."""
    books: Books = field(default_factory=Books)
    shown: dict[str, Any] = field(default_factory=dict)
    """What the heir shows of each product's stock."""
    stopped_with: int | None = None
    verified_with: int | None = None
    verified: str = ""


def crash_the_market(point: str, place: str, url: str, folder: Path) -> MarketCrash:
    """Kill a market under load at a point; have its heir finish; repeat what had no answer; look."""
    day = MarketDay(ORDERS)
    crash = MarketCrash(point, place, day)
    taken_over = 0
    with ExitStack() as stack:

        def start(**options: Any) -> Market:
            return stack.enter_context(Market(data=folder, store=url, folder=ROOT, token=day.token, **options))

        if point == "lease.taken":
            first = start()
            day.open(first)
        doomed = start(crash_at=f"{point}:{MARKET_COUNTS[point]}")
        if point == "lease.taken":
            day.sent += drive(first, day.scripts(first, CLIENTS), until=lambda: day.drawn >= ORDERS // 2)
            first.kill()
            with MarketLogs(first.store, first.data, live=True) as logs:
                taken_over = logs.books(first.mails).in_flight
        else:
            day.open(doomed)
        if place == "postgres-two":
            healed = start()
            left = order_at_both(day, doomed, healed)
        else:
            day.sent += drive(doomed, day.scripts(doomed, CLIENTS))
            left = books_left_by(doomed)
            healed = start()
        crash.killed, crash.exit_code, crash.log_before = doomed.killed, doomed.exit_code, doomed.log
        crash.in_flight = taken_over or left.in_flight
        crash.ended = sum(order.ended for order in left.orders.values())
        crash.answered = [entry for entry in day.sent if entry.first is not None and entry.first.final]
        crash.unanswered = [entry for entry in day.sent if entry.first is None]
        repeat(healed, day.sent)
        with healed.client() as client:
            crash.replays = [(entry, client.send(entry.command)) for entry in crash.answered]
        crash.books = balanced(healed)
        crash.shown = {product: healed.get(f"/v1/products/{product}/stock").body for product in DELIVERED}
        crash.stopped_with, crash.log_after = healed.stop(), healed.log
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
    """A place and the point where it dies."""
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
        heads = f"{'answered':>9}{'unanswered':>12}{'orders':>8}{'in flight':>11}"
        terminalreporter.write_line(f"{'point':<22}{'place':<14}{heads}  outcome")
        for (place, point), run in self._runs.items():
            failed = run.cancelled() or run.exception() is not None
            terminalreporter.write_line(f"{point:<22}{place:<14}{'  FAILED' if failed else outcome(run.result())}")


def outcome(crash: MarketCrash) -> str:
    whole = not crash.books.problems() and crash.verified_with == 0
    endings = ", ".join(f"{count} {status}" for status, count in sorted(crash.books.endings.items()))
    return (
        f"{len(crash.answered):>9}{len(crash.unanswered):>12}{len(crash.books.orders):>8}{crash.in_flight:>11}"
        f"  {endings}; {'balanced' if whole else 'NOT BALANCED'}"
    )


@pytest.fixture(scope="session")
def market_crash(
    site: tuple[str, str], market_crashes: Result[MarketCrash], request: pytest.FixtureRequest
) -> MarketCrash:
    """A market that was killed under load at this point, in this place, and its heir."""
    place, point = site
    server = "sqlite" if place == "sqlite" else request.getfixturevalue("postgres_url")
    return market_crashes(place, point, server)


def test_the_market_dies_by_sigkill_in_the_middle_of_its_checkouts(market_crash: MarketCrash) -> None:
    assert market_crash.killed
    assert market_crash.exit_code == -SIGKILL, market_crash.log_before
    assert market_crash.in_flight > 0, "it died when the checkouts had ended, or before they had begun"
    assert market_crash.ended > 0, "no order had come to an end when it died"


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


def test_the_audit_of_each_module_finds_nothing_to_complain_about(market_crash: MarketCrash) -> None:
    assert market_crash.verified_with == 0, market_crash.verified
    for module in MODULES:
        assert f"{module}: as the log says" in market_crash.verified


def test_the_heir_fails_at_nothing(market_crash: MarketCrash) -> None:
    assert market_crash.stopped_with == 0
    assert failures_in(market_crash.log_after) == []
