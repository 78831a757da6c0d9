"""Shipments: one for each order, from its scheduling to its arrival, or its recall."""

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
    """Each turn is taken once; asking for one that was taken, or that comes too late, changes nothing."""

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
