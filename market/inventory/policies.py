"""What inventory does when something happens elsewhere."""

from craton.application import Policy
from craton.domain import Id, Recorded
from market.inventory.api import Inventory
from market.ordering.events import OrderCancelled


class TakeBack(Policy):
    """Whenever an order is cancelled, what was reserved is released, and what was taken comes back."""

    async def react(self, event: Recorded[OrderCancelled], inventory: Inventory) -> None:
        await inventory.take_back(Id(event.subject))
