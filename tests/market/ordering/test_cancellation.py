"""A cancelled order is undone by those who react to its cancellation, each by himself, and by its checkout, if that is
still on its way. However they come across each other, all ends in the same state, and everything happens once."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache, partial
from itertools import permutations
from pathlib import Path
from typing import Any, TypeVar

import pytest

from craton.adapters.stores import stores
from craton.application.api import OperationDefinition
from craton.application.context import Context
from craton.domain import Event, Id, Money, Name, Recorded, Text
from craton.runtime import App
from craton.runtime.commands.results import Answer
from craton.testing import until
from market.catalog.api import Catalog
from market.catalog.events import ProductId
from market.identity.api import Identity
from market.identity.events import EmailAddress, Password, UserCreated
from market.inventory.api import Inventory
from market.inventory.events import Line
from market.inventory.policies import TakeBack
from market.ledger.api import Ledger
from market.ledger.events import TransferId
from market.notifications.adapters.folder import FolderMailer
from market.notifications.api import Notifications
from market.notifications.events import LetterWritten
from market.notifications.policies import Post, Write
from market.ordering.api import Item, Ordering
from market.ordering.events import OrderCancelled, OrderId, OrderPlaced, OrderShipped, PayWith, WrongStatus
from market.payments.api import Payments
from market.payments.events import Means, PaymentId, PaymentRefunded, RefundRequested, Standing
from market.payments.policies import TakeBackPayment
from market.shipping.api import Shipping
from market.shipping.policies import FollowOrders
from tests.crash.market_shop import Books, balanced_here, read_books
from tests.market.refusals import code_of
from tests.market.shop import Shop

E = TypeVar("E", bound=Event)

REASON = Text("I have thought again")
STOCK = 10_000
LINES = (Item(product_id=ProductId("spoon"), quantity=2), Item(product_id=ProductId("pan"), quantity=1))


class Hold:
    """A call about an order, which waits before it is run, or, `after`, before its caller is told."""

    def __init__(self, call: str, *, after: bool) -> None:
        self.call = call
        self.after = after
        self.reached = asyncio.Event()
        self.over = asyncio.Event()

    async def wait(self) -> None:
        self.reached.set()
        await self.over.wait()

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.call}"


class HeldUpApp(App):
    """Calls about an order can be held up: its checkout's, its payment's, and those of who reacts to its end.

    A call is about an order if one of its arguments tells of it, or of its payment. No checkout goes on until it is
    said where it is held up.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.known: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.holds: dict[str, Hold] = {}
        self.reactions: dict[str, asyncio.Event] = {}

    async def call(self, operation: OperationDefinition, arguments: dict[str, Any], context: Context) -> Answer:
        told = " ".join(map(str, arguments.values()))
        if (context.actor or "").startswith("policy:"):
            for order, may_react in self.reactions.items():
                if _about(order, told) and "Order confirmation" not in told:
                    await may_react.wait()
            return await super().call(operation, arguments, context)
        if str(operation) == "Inventory.reserve":
            await self.known[arguments["order"]].wait()
        holds = [hold for order, hold in self.holds.items() if hold.call == str(operation) and _about(order, told)]
        for hold in holds:
            if not hold.after:
                await hold.wait()
        answer = await super().call(operation, arguments, context)
        for hold in holds:
            if hold.after:
                await hold.wait()
        return answer


def _about(order: str, told: str) -> bool:
    return order in told or _payment_of(order) in told


_payment_of = cache(PaymentId.derived)


class Market:
    """A running market without a door, in which somebody has money and there are goods."""

    def __init__(self, app: HeldUpApp, mails: Path) -> None:
        self.app = app
        self.mails = mails
        self.ordering = app.api(Ordering)
        self.buyer = Id.new()
        self.deposit = PaymentId.new()

    async def open(self) -> None:
        self.buyer = Id(
            await self.app.api(Identity).register(
                EmailAddress("ada@example.com"), Name("Ada"), Password("nobody's password")
            )
        )
        for product, price in (("spoon", "2.50"), ("pan", "45.00")):
            await self.app.api(Catalog).add(Name(product), Money.of(price, "EUR"), id=ProductId(product))
            await self.app.api(Inventory).restock(ProductId(product), STOCK)
        self.deposit = await self.app.api(Payments).deposit(
            self.buyer, Money.of("9000.00", "EUR"), Name("pm_card_visa")
        )

    async def is_open(self) -> bool:
        """Whether the buyer's money has come."""
        return bool((await self.app.api(Ledger).wallet(Name(self.buyer))).balance)

    async def place(self, pay_with: PayWith) -> OrderId:
        method = Name("pm_card_visa") if pay_with is PayWith.CARD else None
        return (await self.ordering.place(self.buyer, LINES, pay_with, method)).order_id

    async def books(self) -> Books:
        return await read_books(self.app, self.mails)

    async def balanced(self) -> Books:
        """Wait until all is settled, and a moment more."""
        books = await balanced_here(self.app, self.mails)
        assert books.problems() == []
        assert await self.verified() == []
        return books

    async def verified(self) -> list[str]:
        return [problem for running in self.app.running.values() async for problem in running.verify()]


@asynccontextmanager
async def opened(store_url: str, folder: Path, *, subscriptions: bool = True) -> AsyncIterator[Market]:
    shop = Shop(store_url, folder)  # it isn't opened, but knows what one needs, and cleans up
    app = shop.made(HeldUpApp)
    try:
        async with app.run(stores(shop.url, shop.folder, shop.name), subscriptions=subscriptions):
            market = Market(app, shop.mails)
            await market.open()
            if subscriptions:
                await until(market.is_open)
            yield market
    finally:
        await shop.drop()


@pytest.fixture
async def market(store_url: str, tmp_path: Path) -> AsyncIterator[Market]:
    async with opened(store_url, tmp_path) as market:
        yield market


# --- at every step of the checkout ------------------------------------------------------------------------------------

STEPS = {
    PayWith.CARD: (
        "Inventory.reserve",
        "Payments.request",
        "Payments.settle",
        "Ordering.confirm",
        "Inventory.commit",
        "Shipping.schedule",
    ),
    PayWith.WALLET: (
        "Inventory.reserve",
        "Payments.request",
        "Ledger.hold_in_wallet",
        "Payments.settle",
        "Ordering.confirm",
        "Ledger.collect",
        "Inventory.commit",
        "Shipping.schedule",
    ),
}


async def cancel_at(market: Market, pay_with: PayWith, hold: Hold, *, reactions_first: bool) -> str:
    """Cancel an order when its checkout has come to a call; let go on who is to be first, then the other."""
    app = market.app
    order = await market.place(pay_with)
    app.holds[order] = hold
    may_react = app.reactions[order] = asyncio.Event()
    app.known[order].set()
    await hold.reached.wait()
    await market.ordering.cancel(order, REASON)
    if reactions_first:
        may_react.set()
        await until(lambda: all_have_reacted(market, order))
        hold.over.set()
    else:
        hold.over.set()
        await until(lambda: has_ended(market, order))
        may_react.set()
    return order


async def all_have_reacted(market: Market, order: str) -> bool:
    """Whether goods, parcel and letter know of the cancellation."""
    facts = {(fact.module, fact.kind) for fact in (await market.books()).facts if _about(order, f"{fact}")}
    return {("shipping", "ShipmentCancelled"), ("notifications", "LetterWritten")} <= facts and bool(
        facts & {("inventory", "ReservationReleased"), ("inventory", "ReservationRestocked")}
    )


async def has_ended(market: Market, order: str) -> bool:
    """Whether the checkout has."""
    ends = ("SagaCompleted", "SagaCompensated", "SagaStuck")
    return any(fact.stream == f"saga-{order}" and fact.kind in ends for fact in (await market.books()).facts)


@pytest.mark.parametrize("reactions_first", [True, False], ids=["the reactions first", "the checkout first"])
@pytest.mark.parametrize("pay_with", list(PayWith))
async def test_an_order_can_be_cancelled_at_every_step_of_its_checkout(
    market: Market, pay_with: PayWith, reactions_first: bool
) -> None:
    holds = [Hold(step, after=after) for step in STEPS[pay_with] for after in (False, True)]

    orders = await asyncio.gather(
        *(cancel_at(market, pay_with, hold, reactions_first=reactions_first) for hold in holds)
    )

    books = await market.balanced()
    assert {(order, *books.orders[order].ending) for order in orders} == {(o, "cancelled", REASON) for o in orders}
    assert {(await market.app.api(Inventory).stock(ProductId(str(line.product_id)))).on_hand for line in LINES} == {
        STOCK
    }
    wallet = await market.app.api(Ledger).wallet(Name(market.buyer))
    assert (wallet.balance, wallet.held) == (Money.of("9000.00", "EUR"), Money.of("0.00", "EUR"))


# --- when the checkout is over ----------------------------------------------------------------------------------------


async def confirmed(market: Market, pay_with: PayWith) -> OrderId:
    """An order whose checkout has done all it has to."""
    order = await market.place(pay_with)
    market.app.known[order].set()
    await until(lambda: has_ended(market, order))
    return order


@pytest.mark.parametrize("pay_with", list(PayWith))
async def test_an_order_can_be_cancelled_when_it_was_shipped_but_not_when_it_was_delivered(
    market: Market, pay_with: PayWith
) -> None:
    orders = [await confirmed(market, pay_with) for _ in range(3)]
    for order in orders[1:]:
        await market.ordering.ship(order)
    await market.ordering.deliver(orders[2])

    await market.ordering.cancel(orders[0], REASON)
    await market.ordering.cancel(orders[1], REASON)
    assert await code_of(market.ordering.cancel(orders[2], REASON)) == WrongStatus.code

    books = await market.balanced()
    assert [books.orders[order].status for order in orders] == ["cancelled", "cancelled", "delivered"]
    assert books.takings() == books.due() == 5_000


@pytest.mark.parametrize("pay_with", list(PayWith))
async def test_who_ships_and_cancels_while_the_checkout_still_runs_leaves_nothing_behind(
    market: Market, pay_with: PayWith
) -> None:
    """The order is confirmed; money, goods and parcel haven't heard of it when all happens at once."""
    holds = [Hold(step, after=after) for step in STEPS[pay_with][-3:] for after in (False, True)]

    async def ship_and_cancel(hold: Hold) -> OrderId:
        order = await market.place(pay_with)
        market.app.holds[order] = hold
        market.app.known[order].set()
        await hold.reached.wait()
        if hold.call != "Ordering.confirm" or hold.after:
            await market.ordering.ship(order)
        await market.ordering.cancel(order, REASON)
        hold.over.set()
        return order

    orders = await asyncio.gather(*map(ship_and_cancel, holds))

    books = await market.balanced()
    assert {books.orders[order].status for order in orders} == {"cancelled"}
    assert books.takings() == 0


async def test_of_many_who_cancel_confirm_and_ship_at_once_each_gets_an_answer_that_is_true(market: Market) -> None:
    async def at_once(pay_with: PayWith, pause: float) -> tuple[OrderId, list[str]]:
        order = await market.place(pay_with)
        market.app.known[order].set()
        await asyncio.sleep(pause)
        verbs = [market.ordering.cancel(order, REASON) for _ in range(3)]
        return order, list(await asyncio.gather(*map(code_of, [*verbs, market.ordering.ship(order)])))

    answers = await asyncio.gather(*(at_once(pay_with, place / 50) for place in range(15) for pay_with in PayWith))

    books = await market.balanced()
    for order, (*cancelled, shipped) in answers:
        assert sorted(cancelled) == ["", WrongStatus.code, WrongStatus.code]
        assert shipped in ("", WrongStatus.code)
        assert books.orders[order].ending == ("cancelled", REASON)
        assert (shipped == "") == ("shipped" in books.orders[order].history)


# --- by the reactions alone -------------------------------------------------------------------------------------------

STEPS_BY_HAND = ("placed", "reserved", "paid", "confirmed", "collected", "taken", "scheduled", "shipped")
STAGES = ("placed", "paid", "collected", "shipped")


async def bring_to(market: Market, stage: str, pay_with: PayWith) -> OrderId:
    """An order whose checkout got so far, by hand: nobody drives sagas here."""
    app, order = market.app, await market.place(pay_with)
    market.app.known[order].set()
    wallet, payment = pay_with is PayWith.WALLET, PaymentId.derived(order)
    total = Money.of("50.00", "EUR")

    async def pay() -> None:
        card = None if wallet else Name("pm_card_visa")
        await app.api(Payments).request(order, market.buyer, total, Means(pay_with), card)
        if wallet:
            await app.api(Ledger).hold_in_wallet(Name(market.buyer), total, TransferId(payment))
        await app.api(Payments).settle(payment, Standing.SUCCEEDED, "a reference", Text(""))

    lines = tuple(Line(product=ProductId(line.product_id), quantity=line.quantity) for line in LINES)
    for step in STEPS_BY_HAND[1 : STEPS_BY_HAND.index(stage) + 1]:
        match step:
            case "reserved":
                await app.api(Inventory).reserve(order, lines)
            case "paid":
                await pay()
            case "confirmed":
                await market.ordering.confirm(order)
            case "collected" if wallet:
                await app.api(Ledger).collect(TransferId(payment))
            case "taken":
                await app.api(Inventory).commit(order)
            case "scheduled":
                await app.api(Shipping).schedule(order, market.buyer)
            case "shipped":
                await market.ordering.ship(order)
    return order


class Reactions:
    """The policies that a cancellation concerns, by hand: each may be told of an event whenever and as often as one
    likes, as by a process that knows nothing of what others have done."""

    def __init__(self, market: Market) -> None:
        app = market.app
        self._app = app
        notifications = app.api(Notifications)
        self.write = partial(Write().react, notifications=notifications)
        self.ship = partial(FollowOrders().react, shipping=app.api(Shipping))
        self.all: Sequence[Callable[[Recorded[Any]], Awaitable[None]]] = (
            partial(TakeBack().react, inventory=app.api(Inventory)),
            partial(TakeBackPayment().react, payments=app.api(Payments)),
            self.ship,
            self.write,
        )
        mailer = FolderMailer(market.mails, "market@example.com")
        self.post = partial(Post().react, notifications=notifications, mailer=mailer)

    async def events(self, module: str, *kinds: type[E]) -> list[Recorded[E]]:
        running = self._app.running[module]
        stored = (await running.store.read_feed(0, 10_000)).events
        names = {kind.__name__ for kind in kinds}
        found: list[Any] = [running.module.events.recorded(event) for event in stored if event.type in names]
        return found

    async def refund(self, wallets: set[str]) -> None:
        """Give back what is to be given back, and say so."""

        async def give_back(asked: Recorded[RefundRequested]) -> None:
            if asked.subject in wallets:
                await self._app.api(Ledger).return_to_wallet(TransferId(asked.subject), asked.data.amount)
            await self._app.api(Payments).finish_refund(PaymentId(asked.subject), asked.data.refund, asked.data.amount)

        await asyncio.gather(*map(give_back, await self.events("payments", RefundRequested)))

    async def settle(self, wallets: set[str]) -> None:
        """All that follows from the cancellations, each event told twice."""
        await self.refund(wallets)
        told: list[Recorded[Any]] = [
            *await self.events("payments", PaymentRefunded),
            *await self.events("ordering", OrderPlaced, OrderShipped),
            *await self.events("identity", UserCreated),
        ]
        await asyncio.gather(*(self.write(event) for event in [*told, *told]))
        letters = await self.events("notifications", LetterWritten)
        for _ in range(2):
            await asyncio.gather(*map(self.post, letters))


@pytest.mark.parametrize("pay_with", list(PayWith))
async def test_those_who_react_may_do_so_in_every_order_and_twice(
    store_url: str, tmp_path: Path, pay_with: PayWith
) -> None:
    async with opened(store_url, tmp_path, subscriptions=False) as market:
        reactions = Reactions(market)
        await market.app.api(Payments).settle(market.deposit, Standing.SUCCEEDED, "a reference", Text(""))
        await market.app.api(Ledger).deposit_to_wallet(Name(market.buyer), Money.of("9000.00", "EUR"))
        turns = [(stage, turn) for stage in STAGES for turn in permutations(range(len(reactions.all)))]
        orders = await asyncio.gather(*(bring_to(market, stage, pay_with) for stage, _ in turns))
        for shipped in await reactions.events("ordering", OrderShipped):
            await reactions.ship(shipped)
        await asyncio.gather(*(market.ordering.cancel(order, REASON) for order in orders))
        cancelled = {event.subject: event for event in await reactions.events("ordering", OrderCancelled)}

        async def tell(order: OrderId, turn: Sequence[int]) -> None:
            for place in (*turn, *reversed(turn)):
                await reactions.all[place](cancelled[order])

        await asyncio.gather(*(tell(order, turn) for order, (_, turn) in zip(orders, turns, strict=True)))
        await reactions.settle({PaymentId.derived(o) for o in orders} if pay_with is PayWith.WALLET else set())

        books = await market.books()
        told = [(fact, f"{fact.stream} {fact.data}") for fact in books.facts if not fact.stream.startswith("saga-")]
        ends: defaultdict[str, set[Any]] = defaultdict(set)
        for order, (stage, _) in zip(orders, turns, strict=True):
            happened = Counter((fact.module, fact.kind) for fact, text in told if _about(order, text))
            ends[stage].add(tuple(sorted(happened.items())))
        assert {stage: len(found) for stage, found in ends.items()} == dict.fromkeys(STAGES, 1)
        assert books.problems(sagas=False) == []
        assert await market.verified() == []
