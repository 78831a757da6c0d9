"""What ordering shows: orders, and the names in them."""

from datetime import datetime

from msgspec.structs import replace

from craton.application import Column, Index, Key, Projection, Row, Rows
from craton.domain import Id, Money, Name, Recorded, Text
from market.ordering.domain import (
    BuyerForgotten,
    BuyerKnown,
    OrderCancelled,
    OrderConfirmed,
    OrderDelivered,
    OrderId,
    OrderLine,
    OrderPlaced,
    OrderShipped,
    OrderStatus,
    ProductId,
    ProductKnown,
)


class OrderRow(Row):
    order_id: Key[OrderId]
    buyer: Index[Id]
    placed_at: Index[datetime]
    status: Column[OrderStatus]
    lines: tuple[OrderLine, ...]
    total: Money
    reason: Text
    version: int


class Orders(Projection):
    """All orders. Inline: who has just ordered finds it."""

    version = 1
    inline = True
    cached = True
    orders: Rows[OrderRow]

    def project(
        self, event: Recorded[OrderPlaced | OrderConfirmed | OrderShipped | OrderDelivered | OrderCancelled]
    ) -> None:
        id = OrderId(event.subject)
        match event.data:
            case OrderPlaced(buyer=buyer, lines=lines, total=total):
                self.orders.put(
                    OrderRow(
                        order_id=id,
                        buyer=buyer,
                        placed_at=event.time,
                        status=OrderStatus.PENDING,
                        lines=lines,
                        total=total,
                        reason=Text(""),
                        version=event.version,
                    )
                )
            case OrderConfirmed():
                self._turn(id, event.version, OrderStatus.CONFIRMED)
            case OrderShipped():
                self._turn(id, event.version, OrderStatus.SHIPPED)
            case OrderDelivered():
                self._turn(id, event.version, OrderStatus.DELIVERED)
            case OrderCancelled(reason=reason):
                self._turn(id, event.version, OrderStatus.CANCELLED, reason)

    def _turn(self, id: OrderId, version: int, status: OrderStatus, reason: Text = Text("")) -> None:
        self.orders.change(id, change=lambda row: replace(row, status=status, reason=reason, version=version))


class BuyerRow(Row):
    buyer: Key[Id]
    name: Name
    email: Text


class Buyers(Projection):
    """What users are called now."""

    version = 1
    inline = True
    cached = True
    buyers: Rows[BuyerRow]

    def project(self, event: Recorded[BuyerKnown | BuyerForgotten]) -> None:
        buyer = Id(event.subject)
        match event.data:
            case BuyerKnown(name=name, email=email):
                self.buyers.put(BuyerRow(buyer=buyer, name=name, email=email))
            case BuyerForgotten():
                self.buyers.delete(buyer)


class ProductRow(Row):
    product: Key[ProductId]
    name: Name


class Products(Projection):
    """What products are called now."""

    version = 1
    inline = True
    cached = True
    products: Rows[ProductRow]

    def project(self, event: Recorded[ProductKnown]) -> None:
        product = ProductId(event.subject)
        self.products.put(ProductRow(product=product, name=event.data.name))
