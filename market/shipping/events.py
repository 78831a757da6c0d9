"""What shipping tells: ids, values, events and refusals. Others may import it."""

from datetime import date
from enum import StrEnum

from craton.domain import AggregateNotFound, Event, Id


class ShipmentId(Id):
    """Derived from the id of the order that is shipped, so each order has one shipment."""

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
    """The goods aren't sent, or they are called back. An order whose shipment is cancelled is never shipped."""

    order: Id
    recipient: Id


class ShipmentNotFound(AggregateNotFound):
    """There is no such shipment."""
