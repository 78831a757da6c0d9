"""Stock and reservations. What is available is what is on hand less what is reserved; it never falls below zero."""

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

MOST = 1_000_000_000


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


class Reservation(Aggregate[Id]):
    """What is kept for an order. Each turn in its life is taken once; asking for it again changes nothing."""

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
