"""Stock and reservations. What is available is what is on hand less what is reserved; it never falls below zero."""

from collections.abc import Mapping
from enum import StrEnum

from craton.domain import Aggregate, AggregateNotFound, Conflict, Event, Id, InvalidValue, Value


class ProductId(Id):
    """As the catalog calls it."""

    pattern = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
    example = "product_1"


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
    """There is no stock of a product that nobody has ever had."""

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


# --- aggregates ----------------------------------------------------------------------------------------------

MOST = 1_000_000_000


class StockItem(Aggregate):
    not_found = StockNotFound

    id: ProductId
    on_hand: int = 0
    reserved: int = 0

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved

    def reserve(self, order: Id, quantity: int) -> None:
        if quantity > self.available:
            raise InsufficientStock(product=self.id, available=self.available)
        self.record(StockReserved(order=order, quantity=quantity))
        if not self.available:
            self.record(StockDepleted())

    def release(self, order: Id, quantity: int) -> None:
        self.record(StockReleased(order=order, quantity=quantity))

    def take(self, order: Id, quantity: int) -> None:
        self.record(StockUpdated(order=order, quantity=quantity, on_hand=self.on_hand - quantity))

    def restock(self, quantity: int, order: Id | None = None) -> None:
        if order is None and self.on_hand + quantity > MOST:  # what an order gives back has been here before
            raise TooMuchStock()
        self.record(StockRestocked(quantity=quantity, on_hand=self.on_hand + quantity, order=order))

    def apply(self, event: StockReserved | StockReleased | StockUpdated | StockRestocked | StockDepleted) -> None:
        match event:
            case StockReserved(quantity=quantity):
                self.reserved += quantity
            case StockReleased(quantity=quantity):
                self.reserved -= quantity
            case StockUpdated(quantity=quantity, on_hand=on_hand):
                self.reserved -= quantity
                self.on_hand = on_hand
            case StockRestocked(on_hand=on_hand):
                self.on_hand = on_hand


class Reservation(Aggregate):
    """What is kept for an order. Each turn in its life is taken once; asking for it again changes nothing."""

    not_found = ReservationNotFound

    id: Id
    lines: tuple[Line, ...] = ()
    status: ReservationStatus | None = None

    def make(self, wanted: Mapping[ProductId, int], items: Mapping[ProductId, StockItem]) -> None:
        """Reserve all that is wanted, or nothing."""
        if self.status in (ReservationStatus.RELEASED, ReservationStatus.RESTOCKED):
            raise ReservationGone()
        if self.status is not None:
            return
        for product, quantity in wanted.items():
            items[product].reserve(self.id, quantity)
        lines = tuple(Line(product=product, quantity=quantity) for product, quantity in wanted.items())
        self.record(ReservationMade(lines=lines))

    def release(self, items: Mapping[ProductId, StockItem]) -> None:
        """Let go of what is reserved. One that was never made never will be."""
        if self.status is ReservationStatus.COMMITTED:
            raise GoodsTaken()
        if self.status is ReservationStatus.RESERVED:
            for line in self.lines:
                items[line.product].release(self.id, line.quantity)
        if self.status in (None, ReservationStatus.RESERVED):
            self.record(ReservationReleased())

    def commit(self, items: Mapping[ProductId, StockItem]) -> None:
        """Take the goods off the shelf."""
        if self.status in (ReservationStatus.RELEASED, ReservationStatus.RESTOCKED):
            raise ReservationGone()
        if self.status is None:
            raise ReservationNotFound(id=self.id)
        if self.status is ReservationStatus.RESERVED:
            for line in self.lines:
                items[line.product].take(self.id, line.quantity)
            self.record(ReservationCommitted())

    def restock(self, items: Mapping[ProductId, StockItem]) -> None:
        """Bring the goods back that have left the shelf."""
        if self.status is ReservationStatus.COMMITTED:
            for line in self.lines:
                items[line.product].restock(line.quantity, self.id)
            self.record(ReservationRestocked())

    def apply(self, event: ReservationMade | ReservationReleased | ReservationCommitted | ReservationRestocked) -> None:
        match event:
            case ReservationMade(lines=lines):
                self.lines, self.status = lines, ReservationStatus.RESERVED
            case ReservationReleased():
                self.status = ReservationStatus.RELEASED
            case ReservationCommitted():
                self.status = ReservationStatus.COMMITTED
            case ReservationRestocked():
                self.status = ReservationStatus.RESTOCKED
