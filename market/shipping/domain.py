"""Shipments: one for each order, from its scheduling to its arrival, or its recall."""

from datetime import date
from enum import StrEnum
from typing import Self
from uuid import NAMESPACE_URL, uuid5

from craton.domain import Aggregate, AggregateNotFound, Event, Id


class ShipmentId(Id):
    @classmethod
    def of_order(cls, order: Id) -> Self:
        return cls(str(uuid5(NAMESPACE_URL, f"craton:market:shipping:{order}")))

    @property
    def tracking_number(self) -> str:
        return "CR" + self.replace("-", "")[:12].upper()


class ShipmentStatus(StrEnum):
    SCHEDULED = "scheduled"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


class ShipmentScheduled(Event):
    order: Id
    recipient: Id
    tracking_number: str
    day: date


class ShipmentShipped(Event):
    order: Id


class ShipmentDelivered(Event):
    order: Id


class ShipmentCancelled(Event):
    """It doesn't go out, or is called back. One that was cancelled before it was scheduled never will be."""

    order: Id
    recipient: Id


class ShipmentNotFound(AggregateNotFound):
    """There is no such shipment."""


class Shipment(Aggregate):
    """Each turn is taken once; asking for one that was taken, or that comes too late, changes nothing."""

    not_found = ShipmentNotFound

    id: ShipmentId
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
