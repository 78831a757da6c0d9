"""Orders: what was ordered, by whom, for how much, and how far it got."""

from enum import StrEnum
from typing import Self

from craton.domain import (
    Aggregate,
    AggregateNotFound,
    Conflict,
    Event,
    Id,
    InvalidValue,
    Money,
    Name,
    Text,
    Value,
)

MOST_WAITING = 3


class OrderId(Id):
    pass


class ProductId(Id):
    """As the catalog calls it."""

    pattern = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"


class PayWith(StrEnum):
    CARD = "card"
    WALLET = "wallet"


class OrderStatus(StrEnum):
    PENDING = "pending"
    CONFIRMED = "confirmed"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


class OrderLine(Value):
    product: ProductId
    name: Name
    """As it was called when it was ordered."""
    quantity: int
    unit_price: Money

    @property
    def subtotal(self) -> Money:
        return self.unit_price * self.quantity


# --- facts ---------------------------------------------------------------------------------------------------


class OrderPlaced(Event):
    buyer: Id
    lines: tuple[OrderLine, ...]
    total: Money


class OrderConfirmed(Event):
    buyer: Id
    total: Money


class OrderShipped(Event):
    buyer: Id


class OrderDelivered(Event):
    buyer: Id


class OrderCancelled(Event):
    buyer: Id
    reason: Text


class BuyerKnown(Event):
    """What identity has said of a user."""

    name: Name
    email: Text


class BuyerForgotten(Event):
    pass


class ProductKnown(Event):
    """What the catalog has said of a product."""

    name: Name


class WaitBegan(Event):
    order: OrderId


class WaitEnded(Event):
    order: OrderId


# --- refusals ------------------------------------------------------------------------------------------------


class OrderNotFound(AggregateNotFound):
    """There is no such order."""


class ProductNotOnSale(InvalidValue):
    """The product isn't on sale."""

    product: ProductId

    def __str__(self) -> str:
        return f"The product {self.product} isn't on sale."


class MixedCurrencies(InvalidValue):
    """All products of an order must have prices in the same currency."""


class OrderOverLimit(InvalidValue):
    """An order can't cost more than can be paid at once."""

    limit: Money

    def __str__(self) -> str:
        return f"An order can't cost more than {self.limit}, which is the most that can be paid at once."


class TooManyWaiting(Conflict):
    """Orders keep goods while they wait for their buyer to pay; pay or cancel one of yours first."""

    orders: tuple[OrderId, ...]


class UnknownBuyer(Conflict):
    """The buyer isn't a user any more."""


class WrongStatus(Conflict):
    """The order's status doesn't allow it."""

    status: OrderStatus

    def __str__(self) -> str:
        return f"The order is {self.status}; that doesn't allow it."


class BlankReason(InvalidValue):
    """A cancellation needs a reason."""


# --- aggregates ----------------------------------------------------------------------------------------------


class Order(Aggregate):
    """pending, confirmed, shipped, delivered; cancelled from each of them but the last."""

    not_found = OrderNotFound

    id: OrderId
    buyer: Id
    lines: tuple[OrderLine, ...]
    total: Money
    status: OrderStatus

    @classmethod
    def place(cls, id: OrderId, buyer: Id, lines: tuple[OrderLine, ...]) -> Self:
        if len({line.unit_price.currency for line in lines}) > 1:
            raise MixedCurrencies()
        total = lines[0].subtotal
        for line in lines[1:]:
            total += line.subtotal
        return cls.begin(id, OrderPlaced(buyer=buyer, lines=lines, total=total))

    def confirm(self) -> None:
        self._require(OrderStatus.PENDING)
        self.record(OrderConfirmed(buyer=self.buyer, total=self.total))

    def ship(self) -> None:
        self._require(OrderStatus.CONFIRMED)
        self.record(OrderShipped(buyer=self.buyer))

    def deliver(self) -> None:
        self._require(OrderStatus.SHIPPED)
        self.record(OrderDelivered(buyer=self.buyer))

    def cancel(self, reason: Text) -> None:
        if not reason:
            raise BlankReason()
        self._require(OrderStatus.PENDING, OrderStatus.CONFIRMED, OrderStatus.SHIPPED)
        self.record(OrderCancelled(buyer=self.buyer, reason=reason))

    def fail(self, reason: Text) -> None:
        """The checkout has failed: cancelled, unless somebody was faster."""
        if self.status is not OrderStatus.CANCELLED:
            self.cancel(reason)

    def _require(self, *statuses: OrderStatus) -> None:
        if self.status not in statuses:
            raise WrongStatus(status=self.status)

    def apply(self, event: OrderPlaced | OrderConfirmed | OrderShipped | OrderDelivered | OrderCancelled) -> None:
        match event:
            case OrderPlaced(buyer=buyer, lines=lines, total=total):
                self.buyer, self.lines, self.total = buyer, lines, total
                self.status = OrderStatus.PENDING
            case OrderConfirmed():
                self.status = OrderStatus.CONFIRMED
            case OrderShipped():
                self.status = OrderStatus.SHIPPED
            case OrderDelivered():
                self.status = OrderStatus.DELIVERED
            case OrderCancelled():
                self.status = OrderStatus.CANCELLED


class WaitingOrders(Aggregate):
    """The orders of one buyer that keep goods until he pays in the browser."""

    id: Id
    orders: tuple[OrderId, ...] = ()

    def add(self, order: OrderId) -> None:
        if order in self.orders:
            return
        if len(self.orders) >= MOST_WAITING:
            raise TooManyWaiting(orders=self.orders)
        self.record(WaitBegan(order=order))

    def remove(self, order: OrderId) -> None:
        if order in self.orders:
            self.record(WaitEnded(order=order))

    def apply(self, event: WaitBegan | WaitEnded) -> None:
        match event:
            case WaitBegan(order=order):
                self.orders = (*self.orders, order)
            case WaitEnded(order=order):
                self.orders = tuple(other for other in self.orders if other != order)


class Buyer(Aggregate):
    """A user, as far as his orders show him."""

    id: Id
    name: Name = Name("")
    email: Text = Text("")

    def know(self, name: Name, email: Text) -> None:
        if (name, email) != (self.name, self.email):
            self.record(BuyerKnown(name=name, email=email))

    def forget(self) -> None:
        self.record(BuyerForgotten())

    def apply(self, event: BuyerKnown | BuyerForgotten) -> None:
        match event:
            case BuyerKnown(name=name, email=email):
                self.name, self.email = name, email
            case BuyerForgotten():
                self.name, self.email = Name(""), Text("")


class Product(Aggregate):
    """A product, as far as orders show it."""

    id: ProductId
    name: Name = Name("")

    def know(self, name: Name) -> None:
        if name != self.name:
            self.record(ProductKnown(name=name))

    def apply(self, event: ProductKnown) -> None:
        self.name = event.name
