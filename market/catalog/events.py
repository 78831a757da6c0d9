"""What the catalog tells: ids, events and refusals. Others may import it."""

from craton.domain import AggregateNotFound, Conflict, Event, Id, InvalidValue, Money, Name, Text


class ProductId(Id):
    """A UUID, or a name such as `product_1`."""

    pattern = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
    example = "product_1"


class ProductAdded(Event):
    name: Name
    description: Text
    price: Money


class ProductChanged(Event):
    name: Name
    description: Text


class PriceChanged(Event):
    price: Money


class ProductRetired(Event):
    pass


class ProductReinstated(Event):
    pass


class BlankName(InvalidValue):
    """A product needs a name."""


class PriceNotPositive(InvalidValue):
    """A price must be more than zero."""


class CurrencyChanged(Conflict):
    """The currency of a product's price can't be changed."""


class ProductNotFound(AggregateNotFound):
    """There is no such product."""
