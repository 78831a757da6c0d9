"""A shop, the application that is killed while its sagas, policies and timers are at work.

What becomes of an order is decided by what it says: by the kind of customer (`declined-…` can't pay, what `bouncing-…`
pays comes back, `hesitant-…` pays when a webhook says so) and by how many there are of the article. Nothing that is
done here is idempotent by itself: done twice, it would show.
"""

import asyncio
import os
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from craton.application import (
    Api,
    Index,
    Key,
    Module,
    Page,
    Paging,
    Policy,
    Projection,
    Repository,
    Routes,
    Row,
    Rows,
    Saga,
    Sagas,
    View,
    command,
    get,
    now,
    post,
    query,
    schedule,
    step,
    wait_for,
)
from craton.domain import Aggregate, Conflict, Event, Id, NotFound, Recorded, Value
from craton.runtime import App

SETTLING: Final = timedelta(seconds=0.2)
"""How long a payment takes."""
REMINDING: Final = timedelta(seconds=1)
"""After how long a customer is reminded of having ordered."""
GATE: Final = "SHOP_GATE"
"""The environment variable that names the file without which no vase is packed."""


class OrderId(Id):
    pass


class ReceiptId(Id):
    pass


class ArticleId(Id):
    pattern = r"[a-z]{1,20}"


class PurseId(Id):
    pattern = r"[a-z]{1,20}-[0-9]{1,3}"


# --- stock -----------------------------------------------------------------------------------------------------------


class Delivered(Event):
    count: int


class Reserved(Event):
    order: OrderId


class Released(Event):
    order: OrderId


class Sold(Event):
    order: OrderId


class SoldOut(Conflict):
    """There is none left."""


class Article(Aggregate):
    id: ArticleId
    free: int = 0
    reserved: int = 0
    sold: int = 0

    def reserve(self, order: OrderId) -> None:
        if self.free < 1:
            raise SoldOut()
        self.record(Reserved(order=order))

    def apply(self, event: Delivered | Reserved | Released | Sold) -> None:
        match event:
            case Delivered(count=count):
                self.free += count
            case Reserved():
                self.free, self.reserved = self.free - 1, self.reserved + 1
            case Released():
                self.free, self.reserved = self.free + 1, self.reserved - 1
            case Sold():
                self.reserved, self.sold = self.reserved - 1, self.sold + 1


class ArticleState(Value):
    free: int
    reserved: int
    sold: int


class Stock(Api):
    @command
    async def deliver(self, article: ArticleId, count: int) -> None:
        """Put more of an article in."""

    @command
    async def reserve(self, article: ArticleId, order: OrderId) -> None:
        """Keep one for an order."""

    @command
    async def release(self, article: ArticleId, order: OrderId) -> None:
        """Let go of the one that was kept."""

    @command
    async def sell(self, article: ArticleId, order: OrderId) -> None:
        """Take out the one that was kept."""

    @query
    async def article(self, article: ArticleId) -> ArticleState:
        """How many there are."""


class StockService(Stock):
    def __init__(self, articles: Repository[Article]) -> None:
        self._articles = articles

    async def deliver(self, article: ArticleId, count: int) -> None:
        found = await self._articles.find(article)
        if found is None:
            self._articles.add(Article.begin(article, Delivered(count=count)))
        else:
            found.record(Delivered(count=count))

    async def reserve(self, article: ArticleId, order: OrderId) -> None:
        (await self._articles.get(article)).reserve(order)

    async def release(self, article: ArticleId, order: OrderId) -> None:
        (await self._articles.get(article)).record(Released(order=order))

    async def sell(self, article: ArticleId, order: OrderId) -> None:
        (await self._articles.get(article)).record(Sold(order=order))

    async def article(self, article: ArticleId) -> ArticleState:
        found = await self._articles.get(article)
        return ArticleState(free=found.free, reserved=found.reserved, sold=found.sold)


stock = Module(
    "stock",
    api=Stock,
    service=StockService,
    routes=Routes(
        post("/v1/articles/{article}/deliveries", Stock.deliver, status=204),
        get("/v1/articles/{article}", Stock.article),
    ),
)


# --- till ------------------------------------------------------------------------------------------------------------


class Charged(Event):
    order: OrderId
    receipt: ReceiptId
    cents: int


class Refunded(Event):
    order: OrderId
    receipt: ReceiptId
    cents: int


class Settled(Event):
    """The bank has said what came of a payment."""

    order: OrderId
    paid: bool


class Declined(Conflict):
    """The customer can't pay."""


class UnknownReceipt(NotFound):
    """Nothing was paid with this receipt, or it was given back."""


class Charge(Value):
    order: OrderId
    receipt: ReceiptId
    cents: int
    settled: bool = False


class Purse(Aggregate):
    """What was taken from one customer."""

    id: PurseId
    taken: int = 0
    charges: tuple[Charge, ...] = ()

    def is_of(self, kind: str) -> bool:
        return self.id.startswith(f"{kind}-")

    def charge(self, order: OrderId, cents: int) -> ReceiptId:
        if self.is_of("declined"):
            raise Declined()
        receipt = ReceiptId.new()
        self.record(Charged(order=order, receipt=receipt, cents=cents))
        return receipt

    def refund(self, receipt: ReceiptId) -> None:
        charge = next((charge for charge in self.charges if charge.receipt == receipt), None)
        if charge is None:
            raise UnknownReceipt()
        self.record(Refunded(order=charge.order, receipt=receipt, cents=charge.cents))

    def settle(self, order: OrderId) -> None:
        self.record(Settled(order=order, paid=not self.is_of("bouncing")))

    def apply(self, event: Charged | Refunded | Settled) -> None:
        match event:
            case Charged(order=order, receipt=receipt, cents=cents):
                self.taken += cents
                self.charges = (*self.charges, Charge(order=order, receipt=receipt, cents=cents))
            case Refunded(receipt=receipt, cents=cents):
                self.taken -= cents
                self.charges = tuple(charge for charge in self.charges if charge.receipt != receipt)
            case Settled(order=order):
                self.charges = tuple(
                    replace(charge, settled=True) if charge.order == order else charge for charge in self.charges
                )


class PurseState(Value):
    taken: int


class Till(Api):
    @command
    async def charge(self, purse: PurseId, order: OrderId, cents: int) -> ReceiptId:
        """Take money; after a while it is known whether it came."""

    @command
    async def refund(self, purse: PurseId, receipt: ReceiptId) -> None:
        """Give it back."""

    @command
    async def settle(self, purse: PurseId, order: OrderId) -> None:
        """Say what came of a payment."""

    @command
    async def settle_all(self, purse: PurseId) -> None:
        """Say it of all payments of which it was not said yet."""

    @query
    async def purse(self, purse: PurseId) -> PurseState:
        """How much was taken."""


class TillService(Till):
    def __init__(self, purses: Repository[Purse]) -> None:
        self._purses = purses

    async def charge(self, purse: PurseId, order: OrderId, cents: int) -> ReceiptId:
        found = await self._purses.find(purse)
        if found is None:
            found = Purse(purse)
            self._purses.add(found)
        receipt = found.charge(order, cents)
        if not found.is_of("hesitant"):
            schedule(now() + SETTLING, Till.settle, purse=purse, order=order)
        return receipt

    async def refund(self, purse: PurseId, receipt: ReceiptId) -> None:
        (await self._purses.get(purse)).refund(receipt)

    async def settle(self, purse: PurseId, order: OrderId) -> None:
        (await self._purses.get(purse)).settle(order)

    async def settle_all(self, purse: PurseId) -> None:
        found = await self._purses.get(purse)
        for charge in found.charges:
            if not charge.settled:
                found.settle(charge.order)

    async def purse(self, purse: PurseId) -> PurseState:
        found = await self._purses.find(purse)
        return PurseState(taken=0 if found is None else found.taken)


till = Module(
    "till",
    api=Till,
    service=TillService,
    routes=Routes(
        post("/v1/purses/{purse}/settlements", Till.settle_all, status=204),
        get("/v1/purses/{purse}", Till.purse),
    ),
)


# --- post ------------------------------------------------------------------------------------------------------------


class LetterWritten(Event):
    about: str


class ParcelSent(Event):
    article: ArticleId


class Mailbox(Aggregate):
    """What a customer gets about one order."""

    id: OrderId
    things: int = 0

    def apply(self, event: LetterWritten | ParcelSent) -> None:
        self.things += 1


class LetterRow(Row):
    mailbox: Key[OrderId]
    number: Key[int]
    about: Index[str]


class LetterBook(Projection):
    """Each letter."""

    letters: Rows[LetterRow]

    def project(self, event: Recorded[LetterWritten]) -> None:
        self.letters.put(LetterRow(mailbox=OrderId(event.subject), number=event.version, about=event.data.about))


class Post(Api):
    @command
    async def write(self, order: OrderId, about: str) -> None:
        """Send the customer a letter."""

    @command
    async def send(self, order: OrderId, article: ArticleId) -> None:
        """Send the customer a parcel."""

    @query
    async def letters(self, *, paging: Paging = Paging()) -> Page[LetterRow]:
        """All letters that were sent."""


class PostService(Post):
    def __init__(self, mailboxes: Repository[Mailbox], letters: View[LetterRow]) -> None:
        self._mailboxes = mailboxes
        self._letters = letters

    async def write(self, order: OrderId, about: str) -> None:
        (await self._mailbox(order)).record(LetterWritten(about=about))

    async def send(self, order: OrderId, article: ArticleId) -> None:
        (await self._mailbox(order)).record(ParcelSent(article=article))

    async def letters(self, *, paging: Paging = Paging()) -> Page[LetterRow]:
        return await self._letters.find(paging=paging)

    async def _mailbox(self, order: OrderId) -> Mailbox:
        mailbox = await self._mailboxes.find(order)
        if mailbox is None:
            mailbox = Mailbox(order)
            self._mailboxes.add(mailbox)
        return mailbox


# --- orders ----------------------------------------------------------------------------------------------------------


class OrderStatus(StrEnum):
    PLACED = "placed"
    TAKEN_UP = "taken-up"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"


class OrderPlaced(Event):
    reference: str
    customer: PurseId
    article: ArticleId
    cents: int


class OrderTakenUp(Event):
    pass


class CancellationAsked(Event):
    pass


class OrderConfirmed(Event):
    pass


class OrderCancelled(Event):
    pass


class CustomerReminded(Event):
    pass


class TooLate(Conflict):
    """The order is confirmed, or cancelled, already."""


class Unwanted(Conflict):
    """The customer has thought again."""


class PaymentBounced(Conflict):
    """The money didn't come."""


OrderEvent = OrderPlaced | OrderTakenUp | CancellationAsked | OrderConfirmed | OrderCancelled | CustomerReminded


class Order(Aggregate):
    id: OrderId
    status: OrderStatus = OrderStatus.PLACED
    unwanted: bool = False

    def ask_to_cancel(self) -> None:
        if self.status in (OrderStatus.CONFIRMED, OrderStatus.CANCELLED):
            raise TooLate()
        self.record(CancellationAsked())

    def confirm(self) -> None:
        if self.unwanted:
            raise Unwanted()
        self.record(OrderConfirmed())

    def apply(self, event: OrderEvent) -> None:
        match event:
            case CancellationAsked():
                self.unwanted = True
            case OrderTakenUp() | OrderConfirmed() | OrderCancelled():
                self.status = _STATUS[type(event)]


_STATUS: Final[dict[type[Event], OrderStatus]] = {
    OrderTakenUp: OrderStatus.TAKEN_UP,
    OrderConfirmed: OrderStatus.CONFIRMED,
    OrderCancelled: OrderStatus.CANCELLED,
}


class OrderRow(Row):
    id: Key[OrderId]
    status: Index[OrderStatus]


class OrderBook(Projection):
    """Each order as it stands."""

    orders: Rows[OrderRow]

    def project(self, event: Recorded[OrderPlaced | OrderTakenUp | OrderConfirmed | OrderCancelled]) -> None:
        order = OrderId(event.subject)
        if isinstance(event.data, OrderPlaced):
            self.orders.put(OrderRow(id=order, status=OrderStatus.PLACED))
        else:
            status = _STATUS[type(event.data)]
            self.orders.change(order, change=lambda row: replace(row, status=status))


class Orders(Api):
    @command
    async def place(self, reference: str, customer: PurseId, article: ArticleId, cents: int) -> OrderId:
        """Order an article."""

    @command
    async def cancel(self, order: OrderId) -> None:
        """Have it not sent, if that is possible still."""

    @command
    async def take_up(self, order: OrderId) -> None:
        """Begin with an order."""

    @command
    async def drop(self, order: OrderId) -> None:
        """Give an order up, when all that was done for it is undone."""

    @command
    async def confirm(self, order: OrderId) -> None:
        """Say that it will be sent."""

    @command
    async def remind(self, order: OrderId) -> None:
        """Remind the customer of it."""

    @query
    async def order(self, order: OrderId) -> OrderRow:
        """How an order stands now."""

    @query
    async def orders(self, *, status: OrderStatus | None = None, paging: Paging = Paging()) -> Page[OrderRow]:
        """All orders."""


class Packers:
    """Pack things. Vases wait until the file that the environment names is there; without a name nothing waits."""

    async def pack(self, article: ArticleId) -> None:
        while article == "vase" and not self._may_begin():
            await asyncio.sleep(0.2)

    @staticmethod
    def _may_begin() -> bool:
        gate = os.environ.get(GATE)
        return gate is None or Path(gate).exists()


class Checkout(Saga):
    """Goods and money side by side, then there is no way back, then the parcel."""

    order: OrderId
    customer: PurseId
    article: ArticleId
    cents: int
    receipt: ReceiptId | None = None

    @step
    async def take_up(self, orders: Orders) -> None:
        await orders.take_up(self.order)

    @take_up.undo
    async def drop(self, orders: Orders) -> None:
        await orders.drop(self.order)

    @step(after=take_up)
    async def reserve(self, stock: Stock) -> None:
        await stock.reserve(self.article, self.order)

    @reserve.undo
    async def release(self, stock: Stock) -> None:
        await stock.release(self.article, self.order)

    @step(after=take_up)
    async def charge(self, till: Till) -> None:
        self.receipt = await till.charge(self.customer, self.order, self.cents)

    @charge.undo
    async def refund(self, till: Till) -> None:
        assert self.receipt is not None
        await till.refund(self.customer, self.receipt)

    @wait_for(lambda event: event.data.order, after=charge)
    async def paid(self, event: Recorded[Settled]) -> None:
        if not event.data.paid:
            raise PaymentBounced()

    @step(after=reserve)
    async def pack(self, packers: Packers) -> None:
        await packers.pack(self.article)

    @step(after=(paid, pack), pivot=True)
    async def confirm(self, orders: Orders) -> None:
        await orders.confirm(self.order)

    @step(after=confirm)
    async def ship(self, stock: Stock, post: Post) -> None:
        await stock.sell(self.article, self.order)
        await post.send(self.order, self.article)


class OrdersService(Orders):
    def __init__(self, orders: Repository[Order], book: View[OrderRow], checkouts: Sagas[Checkout]) -> None:
        self._orders = orders
        self._book = book
        self._checkouts = checkouts

    async def place(self, reference: str, customer: PurseId, article: ArticleId, cents: int) -> OrderId:
        placed = OrderPlaced(reference=reference, customer=customer, article=article, cents=cents)
        order = Order.begin(OrderId.new(), placed)
        self._orders.add(order)
        self._checkouts.start(Checkout(order=order.id, customer=customer, article=article, cents=cents), id=order.id)
        schedule(now() + REMINDING, Orders.remind, order=order.id)
        return order.id

    async def cancel(self, order: OrderId) -> None:
        (await self._orders.get(order)).ask_to_cancel()

    async def take_up(self, order: OrderId) -> None:
        (await self._orders.get(order)).record(OrderTakenUp())

    async def drop(self, order: OrderId) -> None:
        (await self._orders.get(order)).record(OrderCancelled())

    async def confirm(self, order: OrderId) -> None:
        (await self._orders.get(order)).confirm()

    async def remind(self, order: OrderId) -> None:
        (await self._orders.get(order)).record(CustomerReminded())

    async def order(self, order: OrderId) -> OrderRow:
        return OrderRow(id=order, status=(await self._orders.get(order)).status)

    async def orders(self, *, status: OrderStatus | None = None, paging: Paging = Paging()) -> Page[OrderRow]:
        return await self._book.find(status=status, paging=paging)


orders = Module(
    "orders",
    api=Orders,
    service=OrdersService,
    projections=[OrderBook],
    sagas=[Checkout],
    provides={Packers: Packers()},
    routes=Routes(
        post("/v1/orders", Orders.place, status=201, location="/v1/orders/{id}"),
        get("/v1/orders", Orders.orders),
        get("/v1/orders/{order}", Orders.order),
        post("/v1/orders/{order}/cancel", Orders.cancel, status=204),
    ),
)


# --- letters ---------------------------------------------------------------------------------------------------------


class Letters(Policy):
    """Whenever the customer should know of something, write to him."""

    def __init__(self, post: Post) -> None:
        self._post = post

    async def react(self, event: Recorded[OrderConfirmed | OrderCancelled | CustomerReminded]) -> None:
        await self._post.write(OrderId(event.subject), type(event.data).__name__)


post_office = Module(
    "post",
    api=Post,
    service=PostService,
    projections=[LetterBook],
    policies=[Letters],
    routes=Routes(get("/v1/letters", Post.letters)),
)

app = App("shop", modules=[stock, till, orders, post_office])
