"""What shipping does with shipments."""

from datetime import timedelta

from craton.application import Page, Paging, Repository, View, narrow, now, permit
from craton.domain import Id
from market.shipping import domain
from market.shipping.api import Shipment, Shipping
from market.shipping.events import ShipmentId


class ShippingService(Shipping):
    def __init__(self, shipments: Repository[domain.Shipment], rows: View[Shipment]) -> None:
        self._shipments = shipments
        self._rows = rows

    async def schedule(self, order: Id, recipient: Id) -> None:
        shipment = await self._of(order)
        shipment.schedule(order, recipient, (now() + timedelta(days=1)).date())

    async def ship(self, order: Id, recipient: Id) -> None:
        shipment = await self._of(order)
        shipment.schedule(order, recipient, now().date())  # the checkout may not have scheduled it yet
        shipment.ship()

    async def deliver(self, order: Id) -> None:
        (await self._of(order)).deliver()

    async def cancel(self, order: Id, recipient: Id) -> None:
        (await self._of(order)).cancel(order, recipient)

    async def shipment(self, shipment: ShipmentId) -> Shipment:
        row = await self._rows.get(shipment)
        permit(row.recipient, "admin", "service")
        return row

    async def shipments(self, *, order: Id | None = None, paging: Paging = Paging()) -> Page[Shipment]:
        recipient = narrow(None, "admin", "service")
        shipment = None if order is None else ShipmentId.derived(order)
        return await self._rows.page(id=shipment, recipient=recipient, order="-scheduled_at", paging=paging)

    async def _of(self, order: Id) -> domain.Shipment:
        return await self._shipments.find_or_add(ShipmentId.derived(order))
