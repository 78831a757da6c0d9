"""Inventory's front door. Others may import it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from craton.application import Api, Key, Row, command, query
from craton.domain import Id
from market.catalog.events import ProductId
from market.inventory.events import Line, ReservationStatus, StockNotFound


class Inventory(Api):
    """How many there are of each product, and for which orders they are kept."""

    @command
    async def restock(self, product: ProductId, quantity: Quantity) -> None:
        """Put goods on the shelf."""

    @command
    async def reserve(self, order: Id, lines: Lines) -> None:
        """Keep goods for an order: all lines, or none. The same order twice is one reservation."""

    @command
    async def release(self, order: Id) -> None:
        """Release what is kept for an order, any number of times. A reservation that comes later is refused."""

    @command
    async def commit(self, order: Id) -> None:
        """Take an order's goods off the shelf."""

    @command
    async def take_back(self, order: Id) -> None:
        """Undo what was done for an order, however far it got: release, or restock."""

    @query
    async def stock(self, product: ProductId) -> Stock:
        """How many there are."""

    @query
    async def reservation(self, order: Id) -> ReservationStatus | None:
        """How an order's reservation stands, None if there is none."""


Quantity = Annotated[int, Meta(ge=1, le=1_000_000)]
Lines = Annotated[tuple[Line, ...], Meta(min_length=1, max_length=100)]


class Stock(Row):
    not_found = StockNotFound

    product: Key[ProductId]
    on_hand: int
    reserved: int
    available: int
    version: int
