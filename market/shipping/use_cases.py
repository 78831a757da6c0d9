"""What shipping does with shipments."""

from datetime import timedelta

from craton.application import Page, Paging, Repository, View, narrow, now, permit
from craton.domain import Id
from market.shipping.api import Shipment, Shipping
from market.shipping.domain import Shipment as ShipmentAggregate
from market.shipping.events import ShipmentId, ShipmentNotFound
from market.shipping.read_models import ShipmentRow


class ShippingService(Shipping):
    def __init__(self, shipments: Repository[ShipmentAggregate], rows: View[ShipmentRow]) -> None:
        self._shipments = shipments
        self._rows = rows

    async def schedule(self, order: Id, recipient: Id) -> None:
        shipment = await self._of(order)
        shipment.schedule(order, recipient, (now() + timedelta(days=1)).date())

    async def ship(self, order: Id, recipient: Id) -> None:
        shipment = await self._of(order)
        shipment.schedule(order, recipient, now().date())  # if the checkout hasn't got there yet
        shipment.ship()

    async def deliver(self, order: Id) -> None:
        (await self._of(order)).deliver()

    async def cancel(self, order: Id, recipient: Id) -> None:
        (await self._of(order)).cancel(order, recipient)

    async def shipment(self, shipment: ShipmentId) -> Shipment:
        row = await self._rows.find(shipment)
        if row is None:
            raise ShipmentNotFound(id=shipment)
        permit(row.recipient, "admin", "service")
        return row.state

    async def shipments(self, *, order: Id | None = None, paging: Paging = Paging()) -> Page[Shipment]:
        recipient = narrow(None, "admin", "service")
        rows = await self._rows.page(recipient=recipient, order_id=order, order="-scheduled_at", paging=paging)
        return rows.map(lambda row: row.state)

    async def _of(self, order: Id) -> ShipmentAggregate:
        return await self._shipments.find_or_add(ShipmentId.derived(order))
