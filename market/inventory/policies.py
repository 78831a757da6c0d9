"""What inventory does when something happens elsewhere."""

from craton.application import Policy
from craton.domain import Id, Recorded
from market.inventory.api import Inventory
from market.ordering.events import OrderCancelled


class TakeBack(Policy):
    """Whenever an order is cancelled, release what is reserved for it, or put back what was taken."""

    async def react(self, event: Recorded[OrderCancelled], inventory: Inventory) -> None:
        await inventory.take_back(Id(event.subject))
