"""The whole market as a process, a load of orders on it, and the books: whether what its modules say adds up.

The books are kept from the facts in the modules' logs, by rules of their own; the market's code isn't asked. They are
balanced when every order has come to an end, and goods, money, parcels and letters are where that end wants them.
"""

import asyncio
import json
import random
import re
import sqlite3
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

from craton.runtime import App
from craton.testing.crash import Client, Command, NoAnswer, Process, Reply, Script, Send, Sent
from tests.crash.bank import cents, euros
from tests.crash.databases import run_sql
from tests.crash.logs import Fact, Logs

MARKET: Final = "market.app:app"
MODULES: Final = ("identity", "catalog", "inventory", "ordering", "payments", "ledger", "shipping", "notifications")
ADMIN_EMAIL: Final = "admin@example.com"
PASSWORD: Final = "correct horse battery"  # noqa: S105 — of nobody
PATIENCE_SECONDS: Final = 3
SETTLED_SECONDS: Final = 300.0
QUIET_SECONDS: Final = 0.6
"""Longer than anything in the market waits before it looks again."""

STATUS: Final = {
    "OrderPlaced": "pending",
    "OrderConfirmed": "confirmed",
    "OrderShipped": "shipped",
    "OrderDelivered": "delivered",
    "OrderCancelled": "cancelled",
}
_ENDED: Final = re.compile(r"pending( cancelled| confirmed( cancelled| shipped( cancelled| delivered)?)?)")
_ORDER: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


# --- the process -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Signed(Command):
    """A command, and who gives it."""

    token: str = ""


class MarketClient(Client):
    """Asks as the administrator, and sends each command for whom it is from."""

    def __init__(self, port: int, token: str) -> None:
        super().__init__(port)
        self._token = token

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        return super().request(method, path, body, {**_bearer(self._token), **(headers or {})})

    def send(self, command: Command) -> Reply:
        token = command.token if isinstance(command, Signed) else self._token
        headers = {"idempotency-key": command.key, **_bearer(token)}
        return self.request(command.method, command.path, command.body, headers)


class Market(Process):
    """The market in a process of its own, in which payments are soon given up; mails go to its folder."""

    def __init__(
        self,
        *,
        data: Path,
        token: str = "",
        patience: int = PATIENCE_SECONDS,
        settings: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.mails = data / "mails"
        self.token = token
        """The administrator's, once he has logged in."""
        environment = {
            "CRATON_IDENTITY_ADMIN_PASSWORD": PASSWORD,
            "CRATON_NOTIFICATIONS_FOLDER": str(self.mails),
            "CRATON_NOTIFICATIONS_LETTERS_A_DAY": "1000",
            "CRATON_PAYMENTS_PATIENCE": str(patience),
            **(settings or {}),
        }
        super().__init__(**{"data": data, "app": MARKET, "environment": environment, **options})

    @contextmanager
    def client(self) -> Iterator[Client]:
        with MarketClient(self.port, self.token) as client:
            yield client


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


# --- the load --------------------------------------------------------------------------------------------------------

PRICES: Final = {"apple": 150, "pear": 225, "rare": 9_999}
DELIVERED: Final = {"apple": 100_000, "pear": 100_000, "rare": 3}
WALLET_CENTS: Final = 1_000_000
RICH: Final = "rich"
POOR: Final = "admin"
"""Who has money in his wallet, and who hasn't. Each of the people costs a tenth of a second, so they are few."""


@dataclass(frozen=True)
class Wish:
    """What somebody orders and how he pays, what happens then, and for which reasons it may come to nothing."""

    method: str
    goods: tuple[str, ...] = ("apple",)
    then: tuple[str, ...] = ()
    buyer: str = RICH
    reasons: tuple[str, ...] = ()
    """Of which one comes true, if there are any."""


VISA: Final = "pm_card_visa"
THOUGHT_AGAIN: Final = "I have thought again"
TIMED_OUT: Final = "The payment has failed: timed out."
WISHES: Final = (
    Wish(VISA),
    Wish("wallet", ("apple", "pear")),
    Wish("pm_card_declined", reasons=("The payment has failed: card_declined.",)),
    Wish(VISA, then=("cancel",)),
    Wish("pm_card_timeout", ("pear", "pear")),
    Wish("wallet", then=("cancel",)),
    Wish(VISA, then=("wait", "ship")),
    Wish("wallet", buyer=POOR, reasons=("The payment has failed: insufficient-funds.",)),
    Wish("pm_card_unreachable", ("pear",), reasons=(TIMED_OUT,)),
    Wish("wallet", ("pear",), then=("wait", "cancel")),
    Wish(VISA, ("rare",)),
    Wish(VISA, ("apple", "pear"), then=("wait", "ship", "cancel")),
    Wish("wallet", then=("wait", "ship", "deliver", "cancel")),
    Wish("pm_card_unreachable", then=("cancel",)),
)


@dataclass
class MarketDay:
    """All that is ever asked of a market: at most so many orders of each process that it has, one after the other."""

    most: int
    wishes: Sequence[Wish] = WISHES
    pause: float = 0.02
    sent: list[Sent] = field(default_factory=list)
    wish_of: dict[str, Wish] = field(default_factory=dict)
    """By the key of the command that places the order."""
    tokens: dict[str, str] = field(default_factory=dict)
    _numbers: deque[int] = field(default_factory=deque)

    def open(self, process: Market) -> None:
        """Let people in, fill the shelves and the wallets."""
        self.go_on()
        with process.client() as client:

            def ask(path: str, body: Any, who: str = "admin") -> Any:
                reply = client.send(Signed(path, body, token=self.tokens.get(who, "")))
                assert reply.ok, reply
                return reply.body

            def log_in(name: str, email: str) -> None:
                self.tokens[name] = ask("/v1/login", {"email": email, "password": PASSWORD}, "")["access_token"]

            log_in("admin", ADMIN_EMAIL)
            process.token = self.token
            for product, price in PRICES.items():
                ask("/v1/products", {"id": product, "name": product.title(), "price": euros(price)})
                ask(f"/v1/products/{product}/stock", {"quantity": DELIVERED[product]})
            email = f"{RICH}@example.com"
            ask("/v1/users", {"email": email, "name": RICH.title(), "password": PASSWORD}, "")
            log_in(RICH, email)
            ask("/v2/wallet/deposit", {"money": euros(WALLET_CENTS), "payment_method": VISA}, RICH)
            while client.get("/v2/wallet", _bearer(self.tokens[RICH])).body["balance"] != euros(WALLET_CENTS):
                time.sleep(0.02)

    @property
    def token(self) -> str:
        """The administrator's; "" before the opening."""
        return self.tokens.get("admin", "")

    @property
    def all_drawn(self) -> bool:
        return not self._numbers

    def go_on(self) -> None:
        """Have as many orders to place as in the beginning."""
        self._numbers = deque(range(self.most))

    def scripts(self, process: Market, clients: int = 8) -> list[Script]:
        """Clients who order one thing after the other, and then wait for the end of the process."""
        return [lambda send: self._order(process, send)] * clients

    def _order(self, process: Market, send: Send) -> None:
        try:
            number = self._numbers.popleft()
        except IndexError:
            if process.exit_code is not None:
                raise NoAnswer("the process has died") from None
            time.sleep(0.01)
            return
        wish = self.wishes[number % len(self.wishes)]
        lines = [{"product_id": product, "quantity": 1 + number % 2} for product in wish.goods if product != "rare"]
        lines += [{"product_id": product, "quantity": 1} for product in wish.goods if product == "rare"]
        paying = {"pay_with": "wallet"} if wish.method == "wallet" else {"payment_method": wish.method}
        command = Signed("/v1/orders", {"lines": lines, "pay_with": "card", **paying}, token=self.tokens[wish.buyer])
        self.wish_of[command.key] = wish
        placed = send(command)
        assert placed.status in (202, 503, 504), placed  # 504: it has taken too long, and is asked again in the end
        if placed.ok:
            self._go_on(process, send, f"/v1/orders/{placed.body['order_id']}", wish, self.tokens[wish.buyer])
        time.sleep(random.uniform(0, 2 * self.pause))

    def _go_on(self, process: Market, send: Send, order: str, wish: Wish, buyer: str) -> None:
        """Buyers cancel whenever they like; what is shipped was confirmed before."""
        for verb in wish.then:
            match verb:
                case "wait":
                    with process.client() as client:
                        while client.get(order).body.get("status") == "pending":
                            time.sleep(0.02)
                case "cancel":
                    time.sleep(random.uniform(0, 0.15))
                    send(Signed(f"{order}/cancel", {"reason": THOUGHT_AGAIN}, token=buyer))
                case _:
                    send(Signed(f"{order}/{verb}", None, token=self.tokens["admin"]))

    # --- what must have become of it ---------------------------------------------------------------------------------

    @property
    def placed(self) -> dict[str, Wish]:
        """What was wanted with each order that there must be."""
        return {
            entry.reply.body["order_id"]: self.wish_of[entry.command.key]
            for entry in self.sent
            if entry.command.path == "/v1/orders" and entry.reply is not None and entry.reply.ok
        }

    def wrong_endings(self, orders: "Mapping[str, Order]", *, outage: bool) -> dict[str, str]:
        """The orders that have ended otherwise than was said to those who asked, or for no good reason.

        In an `outage` a payment may have taken too long that would have come about.
        """
        said: defaultdict[str, set[str]] = defaultdict(set)
        for entry in self.sent:
            match entry.command.path.split("/")[3:]:
                case [named, verb] if entry.reply is not None and entry.reply.ok:
                    said[named].add(verb)
        return {
            id: f"{order.history} because of {order.reason!r}, which is no end for {wish} after {said[id]}"
            for id, wish in self.placed.items()
            if (order := orders.get(id, _NO_ORDER)).ending not in _endings(wish, said[id], outage=outage)
        }


def _endings(wish: Wish, verbs: set[str], *, outage: bool) -> set[tuple[str, str]]:
    """How an order may end, and why, when these were done about it successfully."""
    if "cancel" in verbs:
        return {("cancelled", THOUGHT_AGAIN)}
    reasons = set(wish.reasons)
    if wish.goods == ("rare",):
        reasons |= {f"Of rare only {left} are available." for left in range(DELIVERED["rare"])}
    if outage and not verbs:
        reasons.add(TIMED_OUT)
    good = "delivered" if "deliver" in verbs else "shipped" if "ship" in verbs else "confirmed"
    return {("cancelled", reason) for reason in reasons} | (set() if wish.reasons else {(good, "")})


# --- the books -------------------------------------------------------------------------------------------------------


@dataclass
class Order:
    """An order, as the log of ordering tells of it."""

    buyer: str = ""
    total: int = 0
    goods: Counter[str] = field(default_factory=Counter)
    history: list[str] = field(default_factory=list)
    reason: str = ""

    @property
    def status(self) -> str:
        return self.history[-1] if self.history else ""

    @property
    def ending(self) -> tuple[str, str]:
        return self.status, self.reason

    @property
    def ended(self) -> bool:
        """Whether its checkout can't change it any more, and it has come there by turns that it may take."""
        return bool(_ENDED.fullmatch(" ".join(self.history)))

    @property
    def bought(self) -> bool:
        return self.status in ("confirmed", "shipped", "delivered")


_NO_ORDER: Final = Order()


@dataclass
class Books:
    """All facts of all modules, those of sagas included, each module's in the order of its log."""

    facts: Sequence[Fact] = ()
    mails: Counter[str] = field(default_factory=Counter)
    """The ids of the letters that have left the house."""
    parked: int = 0
    waited: float = 0.0
    """How many seconds went by until they were balanced."""
    orders: dict[str, Order] = field(init=False)

    def __post_init__(self) -> None:
        orders: defaultdict[str, Order] = defaultdict(Order)
        for fact in self._of("ordering", *STATUS):
            order = orders[fact.subject]
            order.history.append(STATUS[fact.kind])
            order.reason = fact.data.get("reason", "")
            if fact.kind == "OrderPlaced":
                order.buyer, order.total = fact.data["buyer"], cents(fact.data["total"])
                for line in fact.data["lines"]:
                    order.goods[line["product"]] += line["quantity"]
        self.orders = dict(orders)

    @property
    def endings(self) -> Counter[str]:
        return Counter(order.status for order in self.orders.values())

    @property
    def in_flight(self) -> int:
        """How many checkouts have begun and not ended."""
        kinds = Counter(fact.kind for fact in self.facts if fact.module == "ordering")
        return kinds["SagaStarted"] - kinds["SagaCompleted"] - kinds["SagaCompensated"]

    def takings(self) -> int:
        """The money that was taken for orders, less what was given back."""
        return sum(taken - back for taken, back in (_moved(story) for story in self.payments.values()))

    def due(self) -> int:
        """What the orders cost that were bought."""
        return sum(order.total for order in self.orders.values() if order.bought)

    def problems(self, *, sagas: bool = True) -> list[str]:
        """A sentence for each thing that doesn't add up, or hasn't come to an end yet; `sagas` are things, too."""
        return [
            *(f"the order {id} is {order.history}" for id, order in self.orders.items() if not order.ended),
            *(["something is parked"] if self.parked else []),
            *self._wrong_stock(),
            *self._wrong_reservations(),
            *self._wrong_payments(),
            *self._wrong_accounts(),
            *self._wrong_parcels(),
            *self._wrong_letters(),
            *([*self._wrong_sagas(), *self._wrong_charges()] if sagas else []),
        ]

    # --- goods ---------------------------------------------------------------------------------------------------

    def _wrong_stock(self) -> Iterator[str]:
        on_hand, reserved, delivered = Counter[str](), Counter[str](), Counter[str]()
        for fact in self._of("inventory", "StockRestocked", "StockReserved", "StockReleased", "StockUpdated"):
            product, count = fact.subject, fact.data["quantity"]
            on_hand[product] += {"StockRestocked": count, "StockUpdated": -count}.get(fact.kind, 0)
            reserved[product] += {"StockReserved": count, "StockRestocked": 0}.get(fact.kind, -count)
            delivered[product] += count if fact.kind == "StockRestocked" and fact.data["order"] is None else 0
            if not 0 <= reserved[product] <= on_hand[product] == fact.data.get("on_hand", on_hand[product]):
                yield f"{product}: of {on_hand[product]} on hand {reserved[product]} are reserved after {fact}"
        sold = sum((order.goods for order in self.orders.values() if order.bought), Counter[str]())
        for product, count in delivered.items():
            if reserved[product] or on_hand[product] != count - sold[product]:
                left = f"{on_hand[product]} are on hand and {reserved[product]} reserved"
                yield f"{product}: {count} came, {sold[product]} were sold, but {left}"

    def _wrong_reservations(self) -> Iterator[str]:
        stories = self._stories("inventory", "reservation-")
        for id, order in self.orders.items():
            kinds = [fact.kind for fact in stories.pop(f"reservation-{id}", [])]
            made, released = ["ReservationMade"], ["ReservationReleased"]
            taken = [*made, "ReservationCommitted"]
            legal = [taken] if order.bought else [released, made + released, [*taken, "ReservationRestocked"]]
            if kinds not in legal:
                yield f"the order {id} is {order.status}, its reservation {kinds}"
        yield from (f"there is no order for the {stream}" for stream in stories)

    # --- money ---------------------------------------------------------------------------------------------------

    @property
    def payments(self) -> dict[str, list[Fact]]:
        """What happened to the payment of each order."""
        stories = self._stories("payments", "payment-").values()
        return {story[0].data["order"]: story for story in stories if story[0].data.get("purpose") == "order"}

    def _wrong_payments(self) -> Iterator[str]:
        payments = self.payments
        for id, order in self.orders.items():
            story = payments.pop(id, [])
            kinds = Counter(fact.kind for fact in story)
            taken, back = _moved(story)
            asked = [fact.data["refund"] for fact in story if fact.kind == "RefundRequested"]
            given = [fact.data["refund"] for fact in story if fact.kind == "PaymentRefunded"]
            if taken - back != (order.total if order.bought else 0) or taken not in (0, order.total) or asked != given:
                yield f"the order {id} over {order.total} is {order.status}: {taken} taken, {back} back, {dict(kinds)}"
            if story and kinds["PaymentProcessed"] + kinds["PaymentFailed"] != 1:
                yield f"the payment of the order {id} has not ended, or twice: {dict(kinds)}"
        yield from (f"there is no order {order} that was paid" for order in payments)

    def _wrong_charges(self) -> Iterator[str]:
        """What the gateway has said is what payments say, also when nobody waited for it any more."""
        done = self._of("payments", "StepDone")
        charged = {fact.subject for fact in done if fact.data["changes"].get("standing") == "succeeded"}
        for id, story in self.payments.items():
            if story[0].data["means"] != "wallet" and bool(_moved(story)[0]) != (story[0].subject in charged):
                yield f"the order {id} was charged, or wasn't, but its payment is {[fact.kind for fact in story]}"

    def _wrong_accounts(self) -> Iterator[str]:
        balances, held, due = Counter[str](), Counter[str](), Counter[str]()
        owners: dict[str, str] = {}
        for fact in self._of("ledger", "AccountOpened"):
            owners[fact.subject] = fact.data["owner"]
        for fact in self._of("ledger", "MoneyCredited", "MoneyDebited", "MoneyHeld", "HoldReleased"):
            owner, amount = owners[fact.subject], cents(fact.data["money"])
            balances[owner] += {"MoneyCredited": amount, "MoneyDebited": -amount}.get(fact.kind, 0)
            held[owner] += {"MoneyHeld": amount, "HoldReleased": -amount}.get(fact.kind, 0)
            if not 0 <= held[owner] <= balances[owner] and owner not in (OUTSIDE, SALES):
                yield f"{owner} has {balances[owner]}, of which {held[owner]} are held, after {fact}"
        for fact in self._of("payments", "PaymentProcessed"):
            if fact.data["purpose"] == "deposit":
                due[OUTSIDE] -= cents(fact.data["amount"])
                due[fact.data["payer"]] += cents(fact.data["amount"])
        for id, story in self.payments.items():
            order = self.orders.get(id, _NO_ORDER)
            if story[0].data["means"] == "wallet" and order.bought:
                due[order.buyer] -= order.total
                due[SALES] += order.total
        if sum(balances.values()):
            yield f"the accounts add up to {sum(balances.values())}"
        for owner in {*balances, *due}:
            if balances[owner] != due[owner] or held[owner]:
                yield f"{owner} has {balances[owner]}, of which {held[owner]} are held, but should have {due[owner]}"

    # --- parcels, letters, sagas ---------------------------------------------------------------------------------

    def _wrong_parcels(self) -> Iterator[str]:
        parcels = {story[0].data["order"]: story for story in self._stories("shipping", "shipment-").values()}
        for id, order in self.orders.items():
            turns = [fact.kind.removeprefix("Shipment").lower() for fact in parcels.pop(id, [])]
            on_its_way = [turn for turn in order.history if turn in ("shipped", "delivered")]
            legal = [["scheduled", *on_its_way]]
            if not order.bought:
                legal = [[*turns, "cancelled"] for turns in (*legal, *([] if on_its_way else [[]]))]
            if turns not in legal:
                yield f"the order {id} is {order.history}, its shipment {turns}"
        yield from (f"there is no order {order} that is shipped" for order in parcels)

    def _wrong_letters(self) -> Iterator[str]:
        wanted = Counter((fact.subject, "Welcome", "") for fact in self._of("identity", "UserCreated"))
        for id, order in self.orders.items():
            for status, subject in LETTERS.items():
                wanted[order.buyer, subject, id] += order.history.count(status)
        for fact in self._of("payments", "PaymentRefunded"):
            wanted[fact.data["payer"], "Payment refunded", fact.data["order"]] += 1
        written = Counter(
            (fact.data["user"], fact.data["subject"], next(iter(_ORDER.findall(fact.data["body"])), ""))
            for fact in self._of("notifications", "LetterWritten")
        )
        yield from (f"the letter {letter} is missing" for letter in wanted - written)
        yield from (f"the letter {letter} is one too many" for letter in written - wanted)
        letters = Counter(fact.subject for fact in self._of("notifications", "LetterWritten"))
        if letters != Counter(fact.subject for fact in self._of("notifications", "LetterSent")):
            yield "letters were not sent, or twice"
        if letters != self.mails:
            yield f"there are {letters.total()} letters and {self.mails.total()} mails"

    def _wrong_sagas(self) -> Iterator[str]:
        checkouts: set[str] = set()
        for module in ("ordering", "payments"):
            for story in self._stories(module, "saga-").values():
                kind, kinds, id = story[0].data["saga"], {fact.kind for fact in story}, story[0].subject
                end = "SagaCompleted"
                if kind == "Checkout":
                    checkouts.add(id)
                    confirmed = "confirmed" in self.orders.get(id, _NO_ORDER).history
                    end = "SagaCompleted" if confirmed else "SagaCompensated"
                if story[-1].kind != end or "SagaStuck" in kinds:
                    yield f"the {kind} {id} has come to {[fact.kind for fact in story]}, and should to {end}"
        if checkouts != self.orders.keys():
            yield f"{len(self.orders)} orders have {len(checkouts)} checkouts"

    # --- the facts -----------------------------------------------------------------------------------------------

    def _of(self, module: str, *kinds: str) -> Iterator[Fact]:
        return (fact for fact in self.facts if fact.module == module and fact.kind in kinds)

    def _stories(self, module: str, prefix: str) -> dict[str, list[Fact]]:
        """The facts of each stream of a kind."""
        stories: defaultdict[str, list[Fact]] = defaultdict(list)
        for fact in self.facts:
            if fact.module == module and fact.stream.startswith(prefix):
                stories[fact.stream].append(fact)
        return dict(stories)


OUTSIDE: Final = "The world outside"
SALES: Final = "The market"
LETTERS: Final = {"pending": "Order confirmation", "shipped": "Order shipped", "cancelled": "Order cancelled"}
"""What is written when an order has come to a status."""


def _moved(payment: Sequence[Fact]) -> tuple[int, int]:
    """The money that was taken, and what of it was given back."""
    taken = sum(fact.kind in ("PaymentProcessed", "PaymentCameLate") for fact in payment)
    back = sum(cents(fact.data["amount"]) for fact in payment if fact.kind == "PaymentRefunded")
    return (taken * cents(payment[0].data["amount"]) if payment else 0), back


# --- reading them ----------------------------------------------------------------------------------------------------


def mails_in(folder: Path) -> Counter[str]:
    return Counter(mail.stem for mail in folder.glob("*.eml"))


class MarketLogs(Logs):
    """The stores of a market: of one that doesn't run, or, `live`, of one that does."""

    def __init__(self, url: str, folder: Path, *, live: bool = False) -> None:
        super().__init__(url, folder)
        self._live = live

    def __enter__(self) -> Self:
        return self if self._live else super().__enter__()

    def rows(self, module: str, sql: str) -> list[tuple[Any, ...]]:
        if self._url == "sqlite" and self._live:
            file = f"file:{self._folder / module}.db?mode=ro"
            with closing(sqlite3.connect(file, uri=True, timeout=10)) as connection:
                return list(connection.execute(sql.format(schema="main")))
        return super().rows(module, sql)

    def rows_of_all(self, modules: Sequence[str], sql: str) -> list[tuple[Any, ...]]:
        """What a query gives in each of the modules, by one connection where that is possible."""
        queries = {module: sql.replace("{module}", module) for module in modules}
        if self._url == "sqlite":
            return [row for module, query in queries.items() for row in self.rows(module, query)]
        union = " UNION ALL ".join(query.format(schema=f"market_{module}") for module, query in queries.items())
        return [tuple(row) for row in run_sql(self._url, union)]

    def anything_going_on(self) -> bool:
        """Whether sagas have not ended or letters were not sent; that is cheaper to know than the books."""
        counts = Counter[str]()
        sql = "SELECT type, count(*) FROM {schema}.events GROUP BY type"
        for kind, count in self.rows_of_all(("ordering", "payments", "notifications"), sql):
            counts[kind] += count
        ended = counts["SagaCompleted"] + counts["SagaCompensated"]
        return counts["SagaStarted"] > ended or counts["LetterWritten"] > counts["LetterSent"]

    def books(self, mails: Path) -> Books:
        known = "SELECT '{module}' AS module, position, stream, version, type, data FROM {schema}.events"
        rows = sorted(self.rows_of_all(MODULES, known), key=lambda row: row[:2])
        facts = [
            Fact(module, stream, version, kind, json.loads(data)) for module, _, stream, version, kind, data in rows
        ]
        parked = self.rows_of_all(MODULES, "SELECT count(*) FROM {schema}.parked_events")
        return Books(facts, mails_in(mails), sum(count for (count,) in parked))


def balanced(process: Market, seconds: float = SETTLED_SECONDS) -> Books:
    """Wait until the books of a market that runs are balanced, and stay so. Raises `TimeoutError` if they never are."""
    began = time.monotonic()
    with MarketLogs(process.store, process.data, live=True) as logs:
        while logs.anything_going_on() or logs.books(process.mails).problems():
            if time.monotonic() > began + seconds:
                problems = logs.books(process.mails).problems()
                late = TimeoutError("; ".join(problems[:5]) + f" (and {max(0, len(problems) - 5)} more)")
                late.add_note(process.log[-5_000:])
                raise late
            time.sleep(0.3)
        waited = time.monotonic() - began
        time.sleep(QUIET_SECONDS)
        return replace(logs.books(process.mails), waited=waited)


async def balanced_here(app: App, mails: Path, seconds: float = SETTLED_SECONDS) -> Books:
    """Wait until the books of a market that runs in this process are balanced, and stay so; if not, they aren't.

    They are read when nothing has been written for a moment: while there is, they can't be balanced.
    """
    deadline = time.monotonic() + seconds
    heads: list[int] = []
    while time.monotonic() < deadline:
        before, heads = heads, [await running.store.head() for running in app.running.values()]
        if before == heads and not (await read_books(app, mails)).problems():
            break
        await asyncio.sleep(0.1)
    await asyncio.sleep(QUIET_SECONDS)
    return await read_books(app, mails)


async def read_books(app: App, mails: Path) -> Books:
    """The books of a market that runs in this process."""
    facts: list[Fact] = []
    parked = 0
    for name, running in app.running.items():
        parked += len(await running.store.parked())
        position = -1
        page = await running.store.read_feed(0, FEED_PAGE)
        while page.position > position:
            facts += [
                Fact(name, event.stream, event.version, event.type, json.loads(event.data)) for event in page.events
            ]
            position = page.position
            page = await running.store.read_feed(position, FEED_PAGE)
    return Books(facts, mails_in(mails), parked)


FEED_PAGE: Final = 2_000
