"""What shipping does when something happens to an order."""

from craton.application import Policy
from craton.domain import Id, Recorded
from market.ordering.events import OrderCancelled, OrderDelivered, OrderShipped
from market.shipping.api import Shipping


class FollowOrders(Policy):
    """Whenever an order is shipped, delivered or cancelled, its shipment is too."""

    async def react(self, event: Recorded[OrderShipped | OrderDelivered | OrderCancelled], shipping: Shipping) -> None:
        order, recipient = Id(event.subject), event.data.buyer
        match event.data:
            case OrderShipped():
                await shipping.ship(order, recipient)
            case OrderDelivered():
                await shipping.deliver(order)
            case OrderCancelled():
                await shipping.cancel(order, recipient)
