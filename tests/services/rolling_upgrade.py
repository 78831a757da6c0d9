"""The market's next version is rolled out under load, one replica after the other: no request with a key fails, nothing
is parked, and no saga is stranded. `make test-replicas` runs it: its seven processes need Postgres for themselves."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from craton.testing.crash import drive, repeat
from tests.cli.conftest import CRATON, craton, environment
from tests.crash.conftest import ROOT
from tests.crash.databases import run_sql
from tests.crash.market_shop import MARKET, VISA, Market, MarketDay, Signed, balanced
from tests.services.conftest import DOUBLED
from tests.services.processes import SERVICES, processes
from tests.services.test_market_in_services import require_the_same_answers

NEXT: Final = Path(__file__).with_name("next_market.patch")
"""An argument more, with a default; a field more in a result; a new event; a new version of an event; and a step more
in a saga, which can't go on with those that have begun."""
SECONDS: Final = 120
UNLIMITED: Final = 1_000_000


def test_the_next_version_is_rolled_out_under_load(doubled: Callable[..., Market], folder: Path) -> None:
    before, program = folder / "before", folder / "program"
    for copy in (before, program):
        shutil.copytree(ROOT / "market", copy / "market")
    day = MarketDay(UNLIMITED, pause=0.5)
    with doubled(folder=program) as market:
        database = market.store
        day.open(market)
        with one_more_shop(before, folder, database), load(market, day):
            until_more_orders(day, 10)
            subprocess.run(["git", "apply", NEXT], cwd=program, check=True)
            for service in SERVICES:
                for number in (1, 2):
                    replace(market, folder, f"{service}.{number}")
                    until_more_orders(day, 3)
            settings = {"CRATON_APP": MARKET, "CRATON_TOPOLOGY": str(DOUBLED), "MARKET_STORE": database}
            drained = craton("drain", "--data", str(folder), cwd=program, env=settings)
            assert drained.code == 0, drained
        repeat(market, day.sent)
        books = balanced(market)

        first = Counter(entry.first.status if entry.first else None for entry in day.sent)
        assert None not in first, first
        assert all(status < 500 or status == 503 for status in first if status), first
        assert day.wrong_endings(books.orders, outage=True) == {}
        assert books.problems() == []
        require_the_same_answers(market, day)
        with market.client() as client:
            placed = client.send(Signed("/v1/orders", ORDER, token=day.token)).body["order_id"]
            assert client.get(f"/v1/orders/{placed}").body["gift"] is False
        assert market.stop() == 0
    events = "SELECT type, schema_version FROM market_ordering.events"
    kinds = Counter((row["type"], row["schema_version"]) for row in run_sql(database, events))
    assert kinds["OrderPlaced", 1] and kinds["OrderPlaced", 2] and kinds["OrderPacked", 1], kinds
    verified = craton("verify", "--data", str(folder), "--store", database, cwd=program, env={"CRATON_APP": MARKET})
    assert verified.code == 0, verified


ORDER: Final = {"lines": [{"product_id": "apple", "quantity": 1}], "pay_with": "card", "payment_method": VISA}


@contextmanager
def load(market: Market, day: MarketDay) -> Iterator[None]:
    """Have people order, ship and cancel while the block lasts."""
    ended = threading.Event()
    ordering = threading.Thread(
        target=lambda: day.sent.extend(drive(market, day.scripts(market, 3), until=ended.is_set))
    )
    ordering.start()
    try:
        yield
    finally:
        ended.set()
        ordering.join()


@contextmanager
def one_more_shop(program: Path, data: Path, database: str) -> Iterator[None]:
    """Run one replica more of the shop, of which nobody else knows, so that it only works in the background."""
    topology = program / "one_more.toml"
    topology.write_text(DOUBLED.read_text().replace("replicas = 2", "replicas = 3", 1))
    arguments = ["up", "--topology", str(topology), "shop", "--replica", "3", "--data", str(data), "--empty"]
    variables = environment({"CRATON_APP": MARKET, "MARKET_STORE": database})
    with subprocess.Popen([CRATON, *arguments], cwd=program, env=variables, stdout=subprocess.DEVNULL) as shop:
        try:
            until_ready(data, "shop.3")
            yield
        finally:
            shop.terminate()


def replace(market: Market, data: Path, name: str) -> None:
    """Stop a replica in good order, and wait until the one that follows it is ready."""
    old = processes(market)[name]
    os.kill(old, signal.SIGTERM)
    deadline = time.monotonic() + SECONDS
    while processes(market).get(name) in (None, old):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    until_ready(data, name)


def until_ready(data: Path, name: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_ready(data / "sockets" / f"{name}.http"):
        assert time.monotonic() < deadline, name
        time.sleep(0.05)


def is_ready(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
            connection.sendall(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False


def until_more_orders(day: MarketDay, count: int) -> None:
    before, deadline = len(day.wish_of), time.monotonic() + SECONDS
    while len(day.wish_of) < before + count:
        assert time.monotonic() < deadline
        time.sleep(0.05)
