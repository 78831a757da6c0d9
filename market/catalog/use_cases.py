"""What the catalog does with products."""

from craton.application import Page, Paging, Repository, View
from craton.domain import Money, Name, Text
from market.catalog import domain
from market.catalog.api import Catalog, Product
from market.catalog.events import ProductId


class CatalogService(Catalog):
    def __init__(self, products: Repository[domain.Product], rows: View[Product]) -> None:
        self._products = products
        self._rows = rows

    async def add(
        self, name: Name, price: Money, *, description: Text | None = None, id: ProductId | None = None
    ) -> ProductId:
        product = domain.Product.add(id or ProductId.new(), name, description or Text(""), price)
        self._products.add(product)
        return product.id

    async def change(
        self,
        product: ProductId,
        *,
        name: Name | None = None,
        description: Text | None = None,
        price: Money | None = None,
        active: bool | None = None,
    ) -> None:
        found = await self._products.get(product)
        found.change(name, description, price)
        if active is not None:
            found.reinstate() if active else found.retire()

    async def retire(self, product: ProductId) -> None:
        (await self._products.get(product)).retire()

    async def product(self, product: ProductId) -> Product:
        return await self._rows.get(product)

    async def products(
        self, *, q: Text | None = None, active: bool | None = None, paging: Paging = Paging()
    ) -> Page[Product]:
        return await self._rows.page(contains={"searched": q}, active=active, order="-added_at", paging=paging)

    async def offers(self, products: tuple[ProductId, ...]) -> tuple[Product, ...]:
        found = await self._rows.all(products)
        return tuple(product for product in found.values() if product.active)
