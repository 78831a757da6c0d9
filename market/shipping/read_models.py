"""What shipping shows."""

from craton.application import Projection
from craton.domain import Event, Recorded
from market.shipping import domain
from market.shipping.api import Shipment


class Shipments(Projection):
    """All shipments, including those that were cancelled before they were scheduled."""

    version = 2

    def row(self, shipment: domain.Shipment, event: Recorded[Event]) -> Shipment | None:
        if shipment.status is None:
            return None
        return Shipment(
            id=shipment.id,
            order=shipment.order,
            tracking_number=shipment.tracking_number,
            status=shipment.status,
            scheduled_for=shipment.day,
            version=shipment.version,
            recipient=shipment.recipient,
            scheduled_at=shipment.began_at,
        )
