"""What the catalog does with products."""

from craton.application import Page, Paging, Repository, View
from craton.domain import Money, Name, Text
from market.catalog.api import Catalog, Product
from market.catalog.domain import Product as ProductAggregate
from market.catalog.domain import ProductId, ProductNotFound
from market.catalog.read_models import ProductRow


class CatalogService(Catalog):
    def __init__(self, products: Repository[ProductAggregate], rows: View[ProductRow]) -> None:
        self._products = products
        self._rows = rows

    async def add(
        self, name: Name, price: Money, *, description: Text | None = None, id: ProductId | None = None
    ) -> ProductId:
        product = ProductAggregate.add(id or ProductId.new(), name, description or Text(""), price)
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
        row = await self._rows.get(product)
        if row is None:
            raise ProductNotFound(id=product)
        return row.state

    async def products(
        self, *, q: Text | None = None, active: bool | None = None, paging: Paging = Paging()
    ) -> Page[Product]:
        found = await self._rows.find(contains={"searched": q}, active=active, order="-added", paging=paging)
        return found.map(lambda row: row.state)

    async def offers(self, products: tuple[ProductId, ...]) -> tuple[Product, ...]:
        rows = await self._rows.get_all(products)
        return tuple(row.state for row in rows.values() if row.active)
