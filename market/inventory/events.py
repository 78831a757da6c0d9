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
    COMMITTED = "committed"  # the goods have left the shelf
    RESTOCKED = "restocked"


# --- facts ---------------------------------------------------------------------------------------------------


class StockReserved(Event):
    order: Id
    quantity: int


class StockReleased(Event):
    order: Id
    quantity: int


class StockUpdated(Event):
    """Goods have left the shelf."""

    order: Id
    quantity: int
    on_hand: int


class StockRestocked(Event):
    quantity: int
    on_hand: int
    order: Id | None = None
    """The order whose goods came back, if that is where they are from."""


class StockDepleted(Event):
    """None is available any more."""


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
    """No stock of this product was ever there."""

    product: ProductId

    def __str__(self) -> str:
        return f"Inventory doesn't know the product {self.product}."


class StockNotFound(AggregateNotFound):
    """There is no stock of this product."""


class QuantityNotPositive(InvalidValue):
    """A quantity must be more than zero."""


class InsufficientStock(Conflict):
    """There aren't that many available."""

    product: ProductId
    available: int

    def __str__(self) -> str:
        return f"Of {self.product} only {self.available} are available."


class TooMuchStock(Conflict):
    """There can't be more than a billion of a product."""


class ReservationGone(Conflict):
    """The reservation was released before."""


class GoodsTaken(Conflict):
    """The goods have left the shelf; only restocking brings them back."""


class ReservationNotFound(AggregateNotFound):
    """There is no such reservation."""
