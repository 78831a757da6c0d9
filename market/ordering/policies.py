"""What ordering learns from other modules: current names, and which orders wait for their payment."""

from craton.application import Policy
from craton.domain import Id, Recorded, Text
from market.catalog.events import ProductAdded, ProductChanged, ProductId
from market.identity.events import UserCreated, UserDeleted, UserUpdated
from market.ordering.api import Ordering
from market.ordering.events import OrderId
from market.payments.events import ChargeAnnounced


class KnowBuyers(Policy):
    """Whenever a user is created, updated or deleted, update what orders show of the user."""

    async def react(self, event: Recorded[UserCreated | UserUpdated | UserDeleted], ordering: Ordering) -> None:
        buyer = Id(event.subject)
        match event.data:
            case UserDeleted():
                await ordering.forget_buyer(buyer)
            case UserCreated(email=email, name=name) | UserUpdated(email=email, name=name):
                await ordering.know_buyer(buyer, name, Text(email))


class KeepWaiting(Policy):
    """Whenever a payment waits for its buyer, count its order among those that keep goods meanwhile."""

    async def react(self, event: Recorded[ChargeAnnounced], ordering: Ordering) -> None:
        if event.data.order is not None:
            await ordering.keep_waiting(OrderId(event.data.order))


class KnowProducts(Policy):
    """Whenever a product is added or changed, update the name that orders show."""

    async def react(self, event: Recorded[ProductAdded | ProductChanged], ordering: Ordering) -> None:
        await ordering.know_product(ProductId(event.subject), event.data.name)
