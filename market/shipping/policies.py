"""What shipping does when something happens to an order."""

from craton.application import Policy
from craton.domain import Id, Recorded
from market.ordering.api import OrderCancelled, OrderDelivered, OrderShipped
from market.shipping.api import Shipping


class FollowOrders(Policy):
    """Whenever an order is shipped, delivered or cancelled, so are its goods."""

    def __init__(self, shipping: Shipping) -> None:
        self._shipping = shipping

    async def react(self, event: Recorded[OrderShipped | OrderDelivered | OrderCancelled]) -> None:
        order, recipient = Id(event.subject), event.data.buyer
        match event.data:
            case OrderShipped():
                await self._shipping.ship(order, recipient)
            case OrderDelivered():
                await self._shipping.deliver(order)
            case OrderCancelled():
                await self._shipping.cancel(order, recipient)
