"""What ordering learns from others, so that orders show the names that things have now."""

from craton.application import Policy
from craton.domain import Id, Recorded, Text
from market.catalog.events import ProductAdded, ProductChanged, ProductId
from market.identity.events import UserCreated, UserDeleted, UserUpdated
from market.ordering.api import Ordering
from market.ordering.events import OrderId
from market.payments.events import ChargeAnnounced


class KnowBuyers(Policy):
    """Whenever a user appears, changes or goes, orders show it."""

    async def react(self, event: Recorded[UserCreated | UserUpdated | UserDeleted], ordering: Ordering) -> None:
        buyer = Id(event.subject)
        match event.data:
            case UserDeleted():
                await ordering.forget_buyer(buyer)
            case UserCreated(email=email, name=name) | UserUpdated(email=email, name=name):
                await ordering.know_buyer(buyer, name, Text(email))


class KeepWaiting(Policy):
    """Whenever a payment waits for its buyer, its order counts among those that keep goods meanwhile."""

    async def react(self, event: Recorded[ChargeAnnounced], ordering: Ordering) -> None:
        if event.data.order is not None:
            await ordering.keep_waiting(OrderId(event.data.order))


class KnowProducts(Policy):
    """Whenever a product appears or changes, orders show its name."""

    async def react(self, event: Recorded[ProductAdded | ProductChanged], ordering: Ordering) -> None:
        await ordering.know_product(ProductId(event.subject), event.data.name)
