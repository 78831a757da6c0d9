"""What the catalog tells: ids, events and refusals. Others may import it."""

from craton.domain import AggregateNotFound, Conflict, Event, Id, InvalidValue, Money, Name, Text


class ProductId(Id):
    """A UUID, or a name of its own such as `product_1`."""

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
    """A product's price stays in its currency."""


class ProductNotFound(AggregateNotFound):
    """There is no such product."""
