"""What inventory does when something happens elsewhere."""

from craton.application import Policy
from craton.domain import Id, Recorded
from market.inventory.api import Inventory
from market.ordering.api import OrderCancelled


class TakeBack(Policy):
    """Whenever an order is cancelled, what was reserved is let go of, and what was taken comes back."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    async def react(self, event: Recorded[OrderCancelled]) -> None:
        await self._inventory.take_back(Id(event.subject))
