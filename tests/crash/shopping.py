"""A load of orders on the shop, what must become of each, and what has become of it.

What must become of an order follows from what was asked for and how that was answered. What has become of it is read
from the logs of the stopped shop, and compared with what the running one says.
"""

import json
import random
import shutil
import sqlite3
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from craton.testing.crash import Client, Command, NoAnswer, Process, Reply, Script, Send, Sent
from tests.crash.bank import caught_up, pages
from tests.crash.databases import run_sql

SHOP: Final = "tests.crash.shop:app"
MODULES: Final = ("stock", "till", "post", "orders")
CLIENTS: Final = 8
DELIVERED: Final = {"apple": 100_000, "pear": 100_000, "vase": 100_000, "rare": 2, "unicorn": 0}
CENTS: Final = 100
SETTLED_SECONDS: Final = 60.0
QUIET_SECONDS: Final = 0.6
"""Longer than anything in the shop waits before it looks again."""
ENDINGS: Final = {"OrderConfirmed": "confirmed", "OrderCancelled": "cancelled"}


@dataclass(frozen=True)
class Wish:
    """What somebody orders, and whether he thinks again or an operator steps in."""

    customer: str
    article: str
    then: str = ""

    @property
    def ending(self) -> str | None:
        """How the order must end if nobody thinks again; None when it depends on who comes first."""
        if self.customer in ("declined", "bouncing") or self.article == "unicorn":
            return "cancelled"
        return None if self.article == "rare" else "confirmed"


WISHES: Final = (
    Wish("good", "apple"),
    Wish("declined", "apple"),
    Wish("good", "pear", then="cancel"),
    Wish("good", "vase"),
    Wish("bouncing", "pear"),
    Wish("good", "apple"),
    Wish("good", "unicorn"),
    Wish("good", "apple", then="compensate"),
    Wish("good", "rare"),
    Wish("good", "pear"),
)


@dataclass
class Shopping:
    """All that is ever asked of a shop: at most so many orders."""

    most: int
    wishes: Sequence[Wish] = WISHES
    pause: float = 0.05
    purses: int = 4
    """How many customers there are of each kind: those of one collide."""
    sent: list[Sent] = field(default_factory=list)
    drawn: int = 0
    """How many orders were begun to be placed."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, process: Process) -> None:
        """Fill the shelves."""
        with process.client() as client:
            for article, count in DELIVERED.items():
                entry = Sent(Command(f"/v1/articles/{article}/deliveries", {"count": count}))
                entry.note(client.send(entry.command))
                assert entry.reply is not None and entry.reply.ok, entry
                self.sent.append(entry)

    @property
    def all_drawn(self) -> bool:
        return self.drawn >= self.most

    def scripts(self, process: Process, clients: int = CLIENTS) -> list[Script]:
        """Clients who order one thing after the other, and then wait for the end of the process."""
        return [partial(self._order, process)] * clients

    def _order(self, process: Process, send: Send) -> None:
        with self._lock:
            number, self.drawn = self.drawn, min(self.drawn + 1, self.most)
        if number == self.most:
            if process.exit_code is not None:
                raise NoAnswer("the process has died")
            time.sleep(0.01)
            return
        wish = self.wishes[number % len(self.wishes)]
        customer = f"{wish.customer}-{number % self.purses}"
        order = {"reference": f"{number} {wish.then}", "customer": customer, "article": wish.article, "cents": CENTS}
        placed = send(Command("/v1/orders", order))
        if placed.ok and wish.then:
            self._think_again(process, send, placed.body["id"], wish)
        time.sleep(random.uniform(0, 2 * self.pause))

    @staticmethod
    def _think_again(process: Process, send: Send, order: str, wish: Wish) -> None:
        """A customer cancels whenever he likes; an operator stops only what has been taken up."""
        time.sleep(random.uniform(0, 0.3))
        if wish.then == "cancel":
            send(Command(f"/v1/orders/{order}/cancel", {}))
            return
        with process.client() as client:
            while client.get(f"/v1/orders/{order}").body.get("status") == "placed":
                time.sleep(0.01)
        send(Command(f"/v1/sagas/{order}/compensate", {"reason": "the shop is closing"}))


# --- what must be there ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Expected:
    """What must become of an order."""

    reference: str
    customer: str
    article: str
    ending: str | None
    asked_to_cancel: bool


def expected(sent: Sequence[Sent]) -> dict[str, Expected]:
    """What must become of each order that was placed."""
    done = [(entry.command, entry.reply) for entry in sent if entry.reply is not None and entry.reply.ok]
    stopped: defaultdict[str, set[str]] = defaultdict(set)
    for command, _ in done:
        match command.path.split("/")[2:]:
            case [_, order, ("cancel" | "compensate") as verb]:
                stopped[order].add(verb)
    found: dict[str, Expected] = {}
    for command, reply in done:
        if command.path == "/v1/orders":
            order, body = reply.body["id"], command.body
            ending = Wish(body["customer"].partition("-")[0], body["article"]).ending
            found[order] = Expected(
                body["reference"],
                body["customer"],
                body["article"],
                "cancelled" if stopped[order] else ending,
                "cancel" in stopped[order],
            )
    return found


# --- what is there ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fact:
    """An event, as it stands in a module's log."""

    module: str
    stream: str
    version: int
    kind: str
    data: dict[str, Any]

    @property
    def subject(self) -> str:
        return self.stream.partition("-")[2]

    @property
    def order(self) -> str:
        """The order it is about; "" for a delivery."""
        return self.subject if self.module in ("orders", "post") else str(self.data.get("order", ""))

    @property
    def name(self) -> str:
        return f"Letter: {self.data['about']}" if self.kind == "LetterWritten" else self.kind


@dataclass
class Found:
    """What a shop says while it runs, and what its logs say when it has ended."""

    order_book: dict[str, str] = field(default_factory=dict)
    sagas: dict[str, str] = field(default_factory=dict)
    articles: dict[str, Any] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    projections: list[Any] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    """Those of all modules, without those of sagas."""
    parked: int = -1
    timers: int = -1

    @classmethod
    def look(cls, process: Process, orders: dict[str, Expected]) -> "Found":
        """Wait until everything has ended, then ask for everything."""
        found = cls()
        with process.client() as client:
            try:
                wait_until_settled(client, len(orders))
                time.sleep(QUIET_SECONDS)
                found.projections = caught_up(client)
            except TimeoutError as late:
                late.add_note(process.log[-20_000:])
                raise
            found.order_book = {row["id"]: row["status"] for row in pages(client, "/v1/orders")}
            found.sagas = {saga["id"]: saga["status"] for saga in pages(client, "/v1/sagas")}
            found.articles = {article: client.get(f"/v1/articles/{article}").body for article in DELIVERED}
            customers = {order.customer for order in orders.values()}
            found.taken = {customer: client.get(f"/v1/purses/{customer}").body["taken"] for customer in customers}
        return found

    def read_logs(self, url: str, folder: Path) -> None:
        """Read what the stopped shop has left."""
        with Logs(url, folder) as logs:
            self.facts = [fact for module in MODULES for fact in logs.facts(module)]
            self.parked = sum(logs.count(module, "parked") for module in MODULES)
            self.timers = sum(logs.count(module, "timers") for module in MODULES)

    @property
    def orders(self) -> dict[str, str]:
        """How each order has ended by its events; "" if it hasn't."""
        return {
            order: "".join(ending for kind, ending in ENDINGS.items() if history[kind])
            for order, history in self.histories.items()
        }

    @property
    def histories(self) -> dict[str, Counter[str]]:
        """What has happened about each order, and how often."""
        histories: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for fact in self.facts:
            if fact.order:
                histories[fact.order][fact.name] += 1
        return histories

    def of_kind(self, kind: str) -> list[Fact]:
        return [fact for fact in self.facts if fact.kind == kind]


class Logs:
    """The stores of a shop that doesn't run. The files of SQLite are copied first: whoever opens them repairs them."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._copy = tempfile.TemporaryDirectory(prefix="craton-shop-")

    def __enter__(self) -> "Logs":
        if self._url == "sqlite":
            shutil.copytree(self._folder, self._copy.name, dirs_exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._copy.cleanup()

    def rows(self, module: str, sql: str) -> list[tuple[Any, ...]]:
        if self._url == "sqlite":
            with closing(sqlite3.connect(Path(self._copy.name) / f"{module}.db")) as connection:
                return list(connection.execute(sql.format(schema="main")))
        return [tuple(row) for row in run_sql(self._url, sql.format(schema=f"shop_{module}"))]

    def count(self, module: str, table: str) -> int:
        ((count,),) = self.rows(module, f"SELECT count(*) FROM {{schema}}.{table}")
        return int(count)

    def facts(self, module: str) -> Iterator[Fact]:
        sql = "SELECT stream, version, type, data FROM {schema}.events WHERE stream NOT LIKE 'saga-%' ORDER BY position"
        for stream, version, kind, data in self.rows(module, sql):
            yield Fact(module, stream, version, kind, json.loads(data))

    @property
    def sagas_in_flight(self) -> int:
        """How many sagas were begun and have not ended."""
        kinds = Counter(
            kind for (kind,) in self.rows("orders", "SELECT type FROM {schema}.events WHERE stream LIKE 'saga-%'")
        )
        return kinds["SagaStarted"] - kinds["SagaCompleted"] - kinds["SagaCompensated"]


def sagas_in_flight(url: str, folder: Path) -> int:
    """How many sagas a shop has begun and not ended when it died."""
    with Logs(url, folder) as logs:
        return logs.sagas_in_flight


def wait_until_settled(client: Client, orders: int, seconds: float = SETTLED_SECONDS) -> None:
    """Wait until no saga runs and each order has led to its two letters. Raises `TimeoutError` if that never comes."""
    deadline = time.monotonic() + seconds
    while True:
        counts = {status: total(client, f"/v1/sagas?status={status}") for status in ("running", "compensating")}
        letters = total(client, "/v1/letters")
        if not any(counts.values()) and letters >= 2 * orders:
            return
        if time.monotonic() > deadline:
            stuck = total(client, "/v1/sagas?status=stuck")
            raise TimeoutError(f"of {orders} orders there are sagas {counts}, stuck {stuck}, letters {letters}")
        time.sleep(0.05)


def total(client: Client, path: str) -> int:
    """How long a list is."""
    reply: Reply = client.get(f"{path}{'&' if '?' in path else '?'}page_size=1")
    assert reply.status == 200, reply
    return int(reply.body["total"])


# --- comparing them --------------------------------------------------------------------------------------------------


def wrong_histories(orders: dict[str, Expected], found: Found) -> dict[str, Any]:
    """The orders about which something else has happened than must have, each thing as often as it must."""
    histories = found.histories
    wrong: dict[str, Any] = {order: dict(histories[order]) for order in histories.keys() - orders.keys()}
    for order, wanted in orders.items():
        history = histories.get(order, Counter())
        if history not in _possible_histories(wanted):
            wrong[order] = (wanted, dict(history))
    return wrong


def _possible_histories(wanted: Expected) -> list[Counter[str]]:
    always = Counter(["OrderPlaced", "OrderTakenUp", "CustomerReminded", "Letter: CustomerReminded"])
    if wanted.asked_to_cancel:
        always["CancellationAsked"] = 1
    possible = []
    if wanted.ending != "cancelled":
        possible.append(
            always
            + Counter(["Reserved", "Charged", "Settled", "OrderConfirmed", "Sold", "ParcelSent"])
            + Counter(["Letter: OrderConfirmed"])
        )
    if wanted.ending != "confirmed":
        always += Counter(["OrderCancelled", "Letter: OrderCancelled"])
        reserved, charged = Counter(["Reserved", "Released"]), Counter(["Charged", "Settled", "Refunded"])
        could_reserve = {False} if wanted.article in ("unicorn", "rare") else {False, True}
        could_pay = {"declined": {False}, "bouncing": {True}}.get(wanted.customer.partition("-")[0], {False, True})
        possible += [
            always + (reserved if was_reserved else Counter()) + (charged if was_charged else Counter())
            for was_reserved in could_reserve
            for was_charged in could_pay
        ]
    return possible
