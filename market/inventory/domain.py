"""Stock and reservations. What is available is what is on hand less what is reserved, and it is never negative."""

from collections.abc import Mapping

from craton.domain import Aggregate, Id
from market.catalog.events import ProductId
from market.inventory.events import (
    GoodsTaken,
    InsufficientStock,
    Line,
    ReservationCommitted,
    ReservationGone,
    ReservationMade,
    ReservationNotFound,
    ReservationReleased,
    ReservationRestocked,
    ReservationStatus,
    StockDepleted,
    StockNotFound,
    StockReleased,
    StockReserved,
    StockRestocked,
    StockUpdated,
    TooMuchStock,
)

MAX_ON_HAND = 1_000_000_000


class StockItem(Aggregate[ProductId]):
    not_found = StockNotFound

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
        if order is None and self.on_hand + quantity > MAX_ON_HAND:  # an order may always give its goods back
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


class Reservation(Aggregate[Id]):
    """What is reserved for an order. Each step is recorded once; asking for it again changes nothing."""

    not_found = ReservationNotFound

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
        """Release what is reserved. If nothing was reserved yet, a later reservation is refused."""
        if self.status is ReservationStatus.COMMITTED:
            raise GoodsTaken()
        if self.status is ReservationStatus.RESERVED:
            for line in self.lines:
                items[line.product].release(self.id, line.quantity)
        if self.status in (None, ReservationStatus.RESERVED):
            self.record(ReservationReleased())

    def commit(self, items: Mapping[ProductId, StockItem]) -> None:
        """Take the reserved goods out of the stock."""
        if self.status in (ReservationStatus.RELEASED, ReservationStatus.RESTOCKED):
            raise ReservationGone()
        if self.status is None:
            raise ReservationNotFound(id=self.id)
        if self.status is ReservationStatus.RESERVED:
            for line in self.lines:
                items[line.product].take(self.id, line.quantity)
            self.record(ReservationCommitted())

    def restock(self, items: Mapping[ProductId, StockItem]) -> None:
        """Put goods back that were taken out of the stock."""
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
