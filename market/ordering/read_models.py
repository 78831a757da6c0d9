"""What ordering shows: orders, and the names in them."""

from datetime import datetime

from craton.application import Column, Index, Key, Projection, Row
from craton.domain import Event, Id, Money, Name, Recorded, Text
from market.catalog.events import ProductId
from market.ordering.domain import Buyer, Order, Product
from market.ordering.events import OrderId, OrderLine, OrderNotFound, OrderStatus


class OrderRow(Row):
    not_found = OrderNotFound

    order_id: Key[OrderId]
    buyer: Index[Id]
    placed_at: Index[datetime]
    status: Column[OrderStatus]
    lines: tuple[OrderLine, ...]
    total: Money
    reason: Text
    version: int


class Orders(Projection):
    """All orders. Inline, so that buyers see an order as soon as it is placed."""

    version = 2
    inline = True
    cached = True

    def row(self, order: Order, event: Recorded[Event]) -> OrderRow:
        return OrderRow(
            order_id=order.id,
            buyer=order.buyer,
            placed_at=order.began_at,
            status=order.status,
            lines=order.lines,
            total=order.total,
            reason=order.reason,
            version=order.version,
        )


class BuyerRow(Row):
    buyer: Key[Id]
    name: Name
    email: Text


class Buyers(Projection):
    """The current names of users. A deleted user has no row."""

    version = 2
    inline = True
    cached = True

    def row(self, buyer: Buyer, event: Recorded[Event]) -> BuyerRow | None:
        return BuyerRow(buyer=buyer.id, name=buyer.name, email=buyer.email) if buyer.name else None


class ProductRow(Row):
    product: Key[ProductId]
    name: Name


class Products(Projection):
    """The current names of products."""

    version = 2
    inline = True
    cached = True

    def row(self, product: Product, event: Recorded[Event]) -> ProductRow:
        return ProductRow(product=product.id, name=product.name)
