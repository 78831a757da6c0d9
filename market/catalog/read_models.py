"""What the catalog shows."""

from craton.application import Projection
from craton.domain import Event, Recorded
from market.catalog import domain
from market.catalog.api import Product


class Products(Projection):
    """All products, including those that aren't on sale. Inline, so that a new price counts from its commit on."""

    version = 2
    inline = True
    cached = True

    def row(self, product: domain.Product, event: Recorded[Event]) -> Product:
        return Product(
            id=product.id,
            name=product.name,
            description=product.description,
            price=product.price,
            active=product.active,
            version=product.version,
            added_at=product.began_at,
            searched=f"{product.name} {product.description}",
        )
