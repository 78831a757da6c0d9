"""What ordering learns from others, so that orders show the names that things have now."""

from craton.application import Policy
from craton.domain import Id, Recorded, Text
from market.catalog.api import ProductAdded, ProductChanged
from market.identity.api import UserCreated, UserDeleted, UserUpdated
from market.ordering.api import OrderId, Ordering, ProductId
from market.payments.api import ChargeAnnounced


class KnowBuyers(Policy):
    """Whenever a user appears, changes or goes."""

    def __init__(self, ordering: Ordering) -> None:
        self._ordering = ordering

    async def react(self, event: Recorded[UserCreated | UserUpdated | UserDeleted]) -> None:
        buyer = Id(event.subject)
        match event.data:
            case UserDeleted():
                await self._ordering.forget_buyer(buyer)
            case UserCreated(email=email, name=name) | UserUpdated(email=email, name=name):
                await self._ordering.know_buyer(buyer, name, Text(email))


class KeepWaiting(Policy):
    """Whenever a payment waits for its buyer, its order counts among those that keep goods meanwhile."""

    def __init__(self, ordering: Ordering) -> None:
        self._ordering = ordering

    async def react(self, event: Recorded[ChargeAnnounced]) -> None:
        if event.data.order is not None:
            await self._ordering.keep_waiting(OrderId(event.data.order))


class KnowProducts(Policy):
    """Whenever a product appears or changes."""

    def __init__(self, ordering: Ordering) -> None:
        self._ordering = ordering

    async def react(self, event: Recorded[ProductAdded | ProductChanged]) -> None:
        await self._ordering.know_product(ProductId(event.subject), event.data.name)
