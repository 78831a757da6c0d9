"""The catalog's contract: all that others may import of it."""

from craton.application import Api, Page, Paging, command, query
from craton.domain import Money, Name, Text, Value
from market.catalog.domain import (
    BlankName,
    CurrencyChanged,
    PriceChanged,
    PriceNotPositive,
    ProductAdded,
    ProductChanged,
    ProductId,
    ProductNotFound,
    ProductReinstated,
    ProductRetired,
)

__all__ = [
    "BlankName",
    "Catalog",
    "CurrencyChanged",
    "PriceChanged",
    "PriceNotPositive",
    "Product",
    "ProductAdded",
    "ProductChanged",
    "ProductId",
    "ProductNotFound",
    "ProductReinstated",
    "ProductRetired",
]


class Product(Value):
    id: ProductId
    name: Name
    description: Text
    price: Money
    active: bool
    version: int


class Catalog(Api):
    """What is sold, and for how much."""

    @command
    async def add(
        self, name: Name, price: Money, *, description: Text | None = None, id: ProductId | None = None
    ) -> ProductId:
        """Put a product on sale, under an id of your own if you like."""

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
        """Change what is given."""

    @command
    async def retire(self, product: ProductId) -> None:
        """Take a product off sale. Orders that have it go on."""

    @query
    async def product(self, product: ProductId) -> Product:
        """A product."""

    @query
    async def products(
        self, *, q: Text | None = None, active: bool | None = None, paging: Paging = Paging()
    ) -> Page[Product]:
        """The products in whose name or description `q` is found, newest first."""

    @query
    async def offers(self, products: tuple[ProductId, ...]) -> tuple[Product, ...]:
        """Those of some products that are on sale."""
