"""What the catalog shows."""

from datetime import datetime

from msgspec.structs import replace

from craton.application import Column, Index, Key, Projection, Row, Rows, Search
from craton.domain import Recorded
from market.catalog.api import Product
from market.catalog.domain import (
    PriceChanged,
    ProductAdded,
    ProductChanged,
    ProductId,
    ProductReinstated,
    ProductRetired,
)


class ProductRow(Row):
    product: Key[ProductId]
    added: Index[datetime]
    active: Column[bool]
    searched: Search[str]
    state: Product


class Products(Projection):
    """All products, those that are sold no more included. Inline: a price counts from its commit on."""

    version = 1
    inline = True
    cached = True
    products: Rows[ProductRow]

    def project(
        self,
        event: Recorded[ProductAdded | ProductChanged | PriceChanged | ProductRetired | ProductReinstated],
    ) -> None:
        id = ProductId(event.subject)
        match event.data:
            case ProductAdded(name=name, description=description, price=price):
                state = Product(
                    id=id, name=name, description=description, price=price, active=True, version=event.version
                )
                self.products.put(_row(event.time, state))
            case fact:
                self.products.change(
                    id,
                    change=lambda row: _row(row.added, replace(_after(row.state, fact), version=event.version)),
                )


def _after(state: Product, fact: ProductChanged | PriceChanged | ProductRetired | ProductReinstated) -> Product:
    match fact:
        case ProductChanged(name=name, description=description):
            return replace(state, name=name, description=description)
        case PriceChanged(price=price):
            return replace(state, price=price)
        case ProductRetired():
            return replace(state, active=False)
        case ProductReinstated():
            return replace(state, active=True)


def _row(added: datetime, state: Product) -> ProductRow:
    return ProductRow(
        product=state.id,
        added=added,
        active=state.active,
        searched=f"{state.name} {state.description}",
        state=state,
    )
