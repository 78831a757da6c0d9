"""Shipping's contract: all that others may import of it."""

from datetime import date

from craton.application import Api, Page, Paging, command, query
from craton.domain import Id, Value
from market.shipping.events import (
    ShipmentCancelled,
    ShipmentDelivered,
    ShipmentId,
    ShipmentNotFound,
    ShipmentScheduled,
    ShipmentShipped,
    ShipmentStatus,
)

__all__ = [
    "Shipment",
    "ShipmentCancelled",
    "ShipmentDelivered",
    "ShipmentId",
    "ShipmentNotFound",
    "ShipmentScheduled",
    "ShipmentShipped",
    "ShipmentStatus",
    "Shipping",
]


class Shipment(Value):
    id: ShipmentId
    order: Id
    tracking_number: str
    status: ShipmentStatus
    scheduled_for: date | None
    version: int


class Shipping(Api):
    """How goods get to people. Each command may come again, or too late, and changes nothing then."""

    @command
    async def schedule(self, order: Id, recipient: Id) -> None:
        """Have an order's goods go out tomorrow."""

    @command
    async def ship(self, order: Id, recipient: Id) -> None:
        """Learn that the goods are on their way."""

    @command
    async def deliver(self, order: Id) -> None:
        """Learn that the goods have arrived."""

    @command
    async def cancel(self, order: Id, recipient: Id) -> None:
        """Call the goods back; what wasn't scheduled yet never is."""

    @query
    async def shipment(self, shipment: ShipmentId) -> Shipment:
        """A shipment."""

    @query
    async def shipments(self, *, order: Id | None = None, paging: Paging = Paging()) -> Page[Shipment]:
        """Shipments, newest first."""
