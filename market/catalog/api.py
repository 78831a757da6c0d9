"""The catalog's front door. Others may import it."""

from __future__ import annotations

from datetime import datetime

from craton.application import Api, Column, Hidden, Index, Key, Page, Paging, Row, Search, command, query
from craton.domain import Money, Name, Text
from market.catalog.events import ProductId, ProductNotFound


class Catalog(Api):
    """Products and their prices."""

    @command
    async def add(
        self, name: Name, price: Money, *, description: Text | None = None, id: ProductId | None = None
    ) -> ProductId:
        """Put a product on sale. The caller may choose its id."""

    @command
    async def change(
        self,
        product: ProductId,
        *,
        name: Name | None = None,
        description: Text | None = None,
        price: Money | None = None,
        active: bool | None = None,
    ) -> None:
        """Change the fields that are given, and no others."""

    @command
    async def retire(self, product: ProductId) -> None:
        """Take a product off sale. Orders that contain it go on."""

    @query
    async def product(self, product: ProductId) -> Product:
        """A product."""

    @query
    async def products(
        self, *, q: Text | None = None, active: bool | None = None, paging: Paging = Paging()
    ) -> Page[Product]:
        """Products, newest first. With `q`, only those whose name or description contains it."""

    @query
    async def offers(self, products: tuple[ProductId, ...]) -> tuple[Product, ...]:
        """Those of the given products that are on sale."""


class Product(Row):
    not_found = ProductNotFound

    id: Key[ProductId]
    name: Name
    description: Text
    price: Money
    active: Column[bool]
    version: int
    added_at: Hidden[Index[datetime]]
    searched: Hidden[Search[str]]
