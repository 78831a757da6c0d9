"""Shipments: one for each order, from the day when it is scheduled until it arrives or is called back."""

from datetime import date

from craton.domain import Aggregate, Id
from market.shipping.events import (
    ShipmentCancelled,
    ShipmentDelivered,
    ShipmentId,
    ShipmentNotFound,
    ShipmentScheduled,
    ShipmentShipped,
    ShipmentStatus,
)


class Shipment(Aggregate[ShipmentId]):
    """Scheduled, shipped, delivered; cancelled from any of them but the last.

    Each step is recorded once. Asking for a step again, or too late, changes nothing.
    """

    not_found = ShipmentNotFound

    order: Id
    recipient: Id
    tracking_number: str = ""
    day: date | None = None
    status: ShipmentStatus | None = None

    def schedule(self, order: Id, recipient: Id, day: date) -> None:
        if self.status is None:
            number = self.id.tracking_number
            self.record(ShipmentScheduled(order=order, recipient=recipient, tracking_number=number, day=day))

    def ship(self) -> None:
        if self.status is ShipmentStatus.SCHEDULED:
            self.record(ShipmentShipped(order=self.order))

    def deliver(self) -> None:
        if self.status is ShipmentStatus.SHIPPED:
            self.record(ShipmentDelivered(order=self.order))

    def cancel(self, order: Id, recipient: Id) -> None:
        if self.status not in (ShipmentStatus.CANCELLED, ShipmentStatus.DELIVERED):
            self.record(ShipmentCancelled(order=order, recipient=recipient))

    def apply(self, event: ShipmentScheduled | ShipmentShipped | ShipmentDelivered | ShipmentCancelled) -> None:
        match event:
            case ShipmentScheduled(order=order, recipient=recipient, tracking_number=number, day=day):
                self.order, self.recipient, self.tracking_number, self.day = order, recipient, number, day
                self.status = ShipmentStatus.SCHEDULED
            case ShipmentShipped():
                self.status = ShipmentStatus.SHIPPED
            case ShipmentDelivered():
                self.status = ShipmentStatus.DELIVERED
            case ShipmentCancelled(order=order, recipient=recipient):
                self.order, self.recipient, self.status = order, recipient, ShipmentStatus.CANCELLED
