"""What ordering tells: ids, values, events and refusals. Others may import it."""

from enum import StrEnum

from craton.domain import (
    AggregateNotFound,
    Conflict,
    Event,
    Id,
    InvalidValue,
    Money,
    Name,
    Text,
    Value,
)
from market.catalog.events import ProductId


class OrderId(Id):
    pass


class PayWith(StrEnum):
    CARD = "card"
    WALLET = "wallet"


class OrderStatus(StrEnum):
    PENDING = "pending"
    CONFIRMED = "confirmed"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


class OrderLine(Value):
    product: ProductId
    name: Name
    """The product's name at the time of the order."""
    quantity: int
    unit_price: Money

    @property
    def subtotal(self) -> Money:
        return self.unit_price * self.quantity


# --- facts ---------------------------------------------------------------------------------------------------


class OrderPlaced(Event):
    buyer: Id
    lines: tuple[OrderLine, ...]
    total: Money


class OrderConfirmed(Event):
    buyer: Id
    total: Money
    lines: tuple[OrderLine, ...] = ()
    """What is sold by it. Events of orders that were confirmed before this was recorded have none."""


class OrderShipped(Event):
    buyer: Id


class OrderDelivered(Event):
    buyer: Id


class OrderCancelled(Event):
    buyer: Id
    reason: Text
    returned: tuple[OrderLine, ...] = ()
    """What was sold and is taken back; nothing if the order wasn't confirmed."""


class BuyerKnown(Event):
    """The name and the e-mail address that identity has published of a user."""

    name: Name
    email: Text


class BuyerForgotten(Event):
    pass


class ProductKnown(Event):
    """The name that the catalog has published of a product."""

    name: Name


class WaitBegan(Event):
    order: OrderId


class WaitEnded(Event):
    order: OrderId


# --- refusals ------------------------------------------------------------------------------------------------


class OrderNotFound(AggregateNotFound):
    """There is no such order."""


class ProductNotOnSale(InvalidValue):
    """The product isn't on sale."""

    product: ProductId

    def __str__(self) -> str:
        return f"The product {self.product} isn't on sale."


class MixedCurrencies(InvalidValue):
    """All products of an order must have prices in the same currency."""


class OrderOverLimit(InvalidValue):
    """An order can't cost more than can be paid at once."""

    limit: Money

    def __str__(self) -> str:
        return f"An order can't cost more than {self.limit}, which is the most that can be paid at once."


class TooManyWaiting(Conflict):
    """Too many of your orders wait for their payment; pay or cancel one of them first."""

    orders: tuple[OrderId, ...]


class UnknownBuyer(Conflict):
    """The buyer is deleted or doesn't exist."""


class WrongStatus(Conflict):
    """The order's status doesn't allow this."""

    status: OrderStatus

    def __str__(self) -> str:
        return f"The order is {self.status}; its status doesn't allow this."


class BlankReason(InvalidValue):
    """A cancellation needs a reason."""
