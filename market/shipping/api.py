"""Shipping's front door. Others may import it."""

from __future__ import annotations

from datetime import date, datetime

from craton.application import Api, Hidden, Index, Key, Page, Paging, Row, command, query
from craton.domain import Id
from market.shipping.events import ShipmentId, ShipmentNotFound, ShipmentStatus


class Shipping(Api):
    """How goods get to people. A command that is repeated, or that comes too late, changes nothing."""

    @command
    async def schedule(self, order: Id, recipient: Id) -> None:
        """Plan to send an order's goods tomorrow."""

    @command
    async def ship(self, order: Id, recipient: Id) -> None:
        """Note that the goods are on their way."""

    @command
    async def deliver(self, order: Id) -> None:
        """Note that the goods have arrived."""

    @command
    async def cancel(self, order: Id, recipient: Id) -> None:
        """Call the goods back. A shipment that isn't scheduled yet is cancelled in advance."""

    @query
    async def shipment(self, shipment: ShipmentId) -> Shipment:
        """A shipment."""

    @query
    async def shipments(self, *, order: Id | None = None, paging: Paging = Paging()) -> Page[Shipment]:
        """Shipments, newest first."""


class Shipment(Row):
    not_found = ShipmentNotFound

    id: Key[ShipmentId]
    order: Id
    tracking_number: str
    status: ShipmentStatus
    scheduled_for: date | None
    version: int
    recipient: Hidden[Index[Id]]
    scheduled_at: Hidden[Index[datetime]]
