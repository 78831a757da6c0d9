"""Orders: their lines, buyers, totals and statuses."""

from typing import Self

from craton.domain import (
    Aggregate,
    Id,
    Money,
    Name,
    Text,
)
from market.catalog.events import ProductId
from market.ordering.events import (
    BlankReason,
    BuyerForgotten,
    BuyerKnown,
    MixedCurrencies,
    OrderCancelled,
    OrderConfirmed,
    OrderDelivered,
    OrderId,
    OrderLine,
    OrderNotFound,
    OrderPlaced,
    OrderShipped,
    OrderStatus,
    ProductKnown,
    TooManyWaiting,
    WaitBegan,
    WaitEnded,
    WrongStatus,
)

MAX_WAITING_ORDERS = 3


class Order(Aggregate[OrderId]):
    """Pending, confirmed, shipped, delivered; cancelled from any of them but the last."""

    not_found = OrderNotFound

    buyer: Id
    lines: tuple[OrderLine, ...]
    total: Money
    status: OrderStatus
    reason: Text = Text("")
    """Why it was cancelled."""

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
        self.record(OrderConfirmed(buyer=self.buyer, total=self.total, lines=self.lines))

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
        returned = () if self.status is OrderStatus.PENDING else self.lines
        self.record(OrderCancelled(buyer=self.buyer, reason=reason, returned=returned))

    def fail(self, reason: Text) -> None:
        """The checkout has failed: cancel the order, unless it is cancelled already."""
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
            case OrderCancelled(reason=reason):
                self.status, self.reason = OrderStatus.CANCELLED, reason


class WaitingOrders(Aggregate[Id]):
    """The orders of one buyer that keep goods while they wait for their payment."""

    orders: tuple[OrderId, ...] = ()

    def add(self, order: OrderId) -> None:
        if order in self.orders:
            return
        if len(self.orders) >= MAX_WAITING_ORDERS:
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


class Buyer(Aggregate[Id]):
    """What orders show of a user."""

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


class Product(Aggregate[ProductId]):
    """What orders show of a product."""

    name: Name = Name("")

    def know(self, name: Name) -> None:
        if name != self.name:
            self.record(ProductKnown(name=name))

    def apply(self, event: ProductKnown) -> None:
        self.name = event.name
