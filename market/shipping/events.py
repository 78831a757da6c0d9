"""What shipping tells: ids, values, events and refusals. Others may import it."""

from datetime import date
from enum import StrEnum

from craton.domain import AggregateNotFound, Event, Id


class ShipmentId(Id):
    """Derived from the order that is shipped."""

    namespace = "craton:market:shipping"

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
