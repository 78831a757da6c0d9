"""Ordering's front door. Others may import it."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from craton.application import Api, Page, Paging, command, query
from craton.domain import Id, Instant, Money, Name, Text, Value
from market.catalog.events import ProductId
from market.ordering.events import OrderId, OrderStatus, PayWith


class Ordering(Api):
    """Orders, until they are delivered or cancelled."""

    @command
    async def place(
        self, buyer: Id, lines: Items, pay_with: PayWith, payment_method: Method | None = None
    ) -> PlacedOrder:
        """Place an order. Its saga reserves the goods and takes the payment after this call."""

    @command
    async def confirm(self, order: OrderId) -> None:
        """Confirm an order whose goods are reserved and whose payment has succeeded."""

    @command
    async def ship(self, order: OrderId) -> None:
        """Note that the goods are on their way."""

    @command
    async def deliver(self, order: OrderId) -> None:
        """Note that the goods have arrived."""

    @command
    async def cancel(self, order: OrderId, reason: Text) -> None:
        """Cancel an order. Everything that was done for it is undone."""

    @command
    async def fail(self, order: OrderId, reason: Text) -> None:
        """Cancel an order whose checkout has failed. Does nothing if the order is cancelled already."""

    @command
    async def keep_waiting(self, order: OrderId) -> None:
        """Note that an order waits for its buyer to pay. Cancels it if too many orders of the buyer wait."""

    @command
    async def know_buyer(self, buyer: Id, name: Name, email: Text) -> None:
        """Remember the name and the e-mail address that orders show of a user."""

    @command
    async def forget_buyer(self, buyer: Id) -> None:
        """Forget the name and the e-mail address of a user."""

    @command
    async def know_product(self, product: ProductId, name: Name) -> None:
        """Remember the name that orders show of a product."""

    @query
    async def order(self, order: OrderId) -> Order:
        """An order."""

    @query
    async def orders(
        self,
        *,
        user_id: Id | None = None,
        status: OrderStatus | None = None,
        from_: Instant | None = None,
        to: Instant | None = None,
        paging: Paging = Paging(),
    ) -> Page[Order]:
        """Orders, newest first."""


Quantity = Annotated[int, Meta(ge=1, le=1_000_000)]


class Item(Value):
    """A product, and how many pieces of it are ordered. The price comes from the catalog."""

    product_id: ProductId
    quantity: Quantity


class PlacedOrder(Value):
    order_id: OrderId
    saga_id: OrderId


class ShownLine(Value):
    product_id: ProductId
    product_name: Name
    quantity: int
    unit_price: Money
    subtotal: Money


class Order(Value):
    """An order as callers see it: with the current names of its buyer and its products."""

    version_tells_all: ClassVar[bool] = False

    id: OrderId
    user_id: Id
    buyer_name: Name
    buyer_email: Text
    lines: tuple[ShownLine, ...]
    item_count: int
    total: Money
    status: OrderStatus
    status_display: str
    placed_at: Instant
    version: int


Method = Annotated[
    Name, Meta(description="the card, by the name that the payment gateway has for it", examples=["pm_card_visa"])
]
Items = Annotated[tuple[Item, ...], Meta(min_length=1, max_length=100)]
