"""Products: their names and prices, and whether they are on sale."""

from typing import Self

from craton.domain import Aggregate, Money, Name, Text
from market.catalog.events import (
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


class Product(Aggregate[ProductId]):
    not_found = ProductNotFound

    name: Name
    description: Text
    price: Money
    active: bool = True

    @classmethod
    def add(cls, id: ProductId, name: Name, description: Text, price: Money) -> Self:
        _require(name, price)
        return cls.begin(id, ProductAdded(name=name, description=description, price=price))

    def change(self, name: Name | None, description: Text | None, price: Money | None) -> None:
        """Change what is given, and nothing else."""
        name = self.name if name is None else name
        description = self.description if description is None else description
        price = self.price if price is None else price
        _require(name, price)
        if price.currency != self.price.currency:
            raise CurrencyChanged()
        if (name, description) != (self.name, self.description):
            self.record(ProductChanged(name=name, description=description))
        if price != self.price:
            self.record(PriceChanged(price=price))

    def retire(self) -> None:
        if self.active:
            self.record(ProductRetired())

    def reinstate(self) -> None:
        if not self.active:
            self.record(ProductReinstated())

    def apply(self, event: ProductAdded | ProductChanged | PriceChanged | ProductRetired | ProductReinstated) -> None:
        match event:
            case ProductAdded(name=name, description=description, price=price):
                self.name, self.description, self.price = name, description, price
            case ProductChanged(name=name, description=description):
                self.name, self.description = name, description
            case PriceChanged(price=price):
                self.price = price
            case ProductRetired():
                self.active = False
            case ProductReinstated():
                self.active = True


def _require(name: Name, price: Money) -> None:
    if not name:
        raise BlankName()
    if not price.positive:
        raise PriceNotPositive()
