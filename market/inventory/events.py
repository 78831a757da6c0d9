"""What inventory tells: ids, values, events and refusals. Others may import it."""

from enum import StrEnum

from craton.domain import AggregateNotFound, Conflict, Event, Id, InvalidValue, Value
from market.catalog.events import ProductId


class Line(Value):
    product: ProductId
    quantity: int


class ReservationStatus(StrEnum):
    RESERVED = "reserved"
    RELEASED = "released"
    COMMITTED = "committed"  # the goods were taken out of the stock
    RESTOCKED = "restocked"


# --- facts ---------------------------------------------------------------------------------------------------


class StockReserved(Event):
    order: Id
    quantity: int


class StockReleased(Event):
    order: Id
    quantity: int


class StockUpdated(Event):
    """Goods were taken out of the stock."""

    order: Id
    quantity: int
    on_hand: int


class StockRestocked(Event):
    quantity: int
    on_hand: int
    order: Id | None = None
    """The order whose goods came back; None if the goods are new."""


class StockDepleted(Event):
    """No piece of the product is available any more."""


class ReservationMade(Event):
    lines: tuple[Line, ...]


class ReservationReleased(Event):
    pass


class ReservationCommitted(Event):
    pass


class ReservationRestocked(Event):
    pass


# --- refusals ------------------------------------------------------------------------------------------------


class UnknownProduct(InvalidValue):
    """Inventory has never had this product in stock."""

    product: ProductId

    def __str__(self) -> str:
        return f"Inventory doesn't know the product {self.product}."


class StockNotFound(AggregateNotFound):
    """There is no stock of this product."""


class QuantityNotPositive(InvalidValue):
    """A quantity must be more than zero."""


class InsufficientStock(Conflict):
    """Not so many pieces are available."""

    product: ProductId
    available: int

    def __str__(self) -> str:
        return f"Of {self.product} only {self.available} are available."


class TooMuchStock(Conflict):
    """There can't be more than a billion pieces of a product in stock."""


class ReservationGone(Conflict):
    """The reservation was already released."""


class GoodsTaken(Conflict):
    """The goods were already taken out of the stock; they can only be restocked."""


class ReservationNotFound(AggregateNotFound):
    """There is no such reservation."""
