"""Inventory's front door. Others may import it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from craton.application import Api, Key, Row, command, query
from craton.domain import Id
from market.catalog.events import ProductId
from market.inventory.events import Line, ReservationStatus, StockNotFound


class Inventory(Api):
    """The stock of each product, and what is reserved for orders."""

    @command
    async def restock(self, product: ProductId, quantity: Quantity) -> None:
        """Add goods to a product's stock."""

    @command
    async def reserve(self, order: Id, lines: Lines) -> None:
        """Reserve goods for an order: all its lines, or none. Does nothing if the order has a reservation already."""

    @command
    async def release(self, order: Id) -> None:
        """Release what is reserved for an order. This may be repeated. A later reservation for the order is refused."""

    @command
    async def commit(self, order: Id) -> None:
        """Take an order's reserved goods out of the stock."""

    @command
    async def take_back(self, order: Id) -> None:
        """Undo what was done for an order: release its reserved goods, or put taken goods back into the stock."""

    @query
    async def stock(self, product: ProductId) -> Stock:
        """The stock of a product."""

    @query
    async def reservation(self, order: Id) -> ReservationStatus | None:
        """The status of an order's reservation; None if there is no reservation."""


Quantity = Annotated[int, Meta(ge=1, le=1_000_000)]
Lines = Annotated[tuple[Line, ...], Meta(min_length=1, max_length=100)]


class Stock(Row):
    not_found = StockNotFound

    product: Key[ProductId]
    on_hand: int
    reserved: int
    available: int
    version: int
