"""What shipping shows."""

from datetime import datetime

from msgspec.structs import replace

from craton.application import Index, Key, Projection, Row, Rows
from craton.domain import Id, Recorded
from market.shipping.api import Shipment
from market.shipping.events import (
    ShipmentCancelled,
    ShipmentDelivered,
    ShipmentId,
    ShipmentScheduled,
    ShipmentShipped,
    ShipmentStatus,
)


class ShipmentRow(Row):
    shipment: Key[ShipmentId]
    order_id: Index[Id]
    recipient: Index[Id]
    scheduled_at: Index[datetime]
    state: Shipment


class Shipments(Projection):
    """All shipments, those that were cancelled before they were scheduled included."""

    version = 1
    shipments: Rows[ShipmentRow]

    def project(
        self, event: Recorded[ShipmentScheduled | ShipmentShipped | ShipmentDelivered | ShipmentCancelled]
    ) -> None:
        id = ShipmentId(event.subject)
        match event.data:
            case ShipmentScheduled(order=order, recipient=recipient, tracking_number=number, day=day):
                state = Shipment(
                    id=id,
                    order=order,
                    tracking_number=number,
                    status=ShipmentStatus.SCHEDULED,
                    scheduled_for=day,
                    version=event.version,
                )
                self.shipments.put(_row(state, recipient, event.time))
            case ShipmentShipped():
                self._turn(id, ShipmentStatus.SHIPPED, event.version)
            case ShipmentDelivered():
                self._turn(id, ShipmentStatus.DELIVERED, event.version)
            case ShipmentCancelled(order=order, recipient=recipient):
                never = Shipment(
                    id=id,
                    order=order,
                    tracking_number="",
                    status=ShipmentStatus.CANCELLED,
                    scheduled_for=None,
                    version=event.version,
                )
                self.shipments.put_new(_row(never, recipient, event.time))
                self._turn(id, ShipmentStatus.CANCELLED, event.version)

    def _turn(self, id: ShipmentId, status: ShipmentStatus, version: int) -> None:
        self.shipments.fold(id, by=lambda row: replace(row, state=replace(row.state, status=status, version=version)))


def _row(state: Shipment, recipient: Id, at: datetime) -> ShipmentRow:
    return ShipmentRow(shipment=state.id, order_id=state.order, recipient=recipient, scheduled_at=at, state=state)
