"""What inventory shows."""

from craton.application import Projection
from craton.domain import Event, Recorded
from market.inventory.api import Stock
from market.inventory.domain import StockItem


class Stocks(Projection):
    """The stock of each product."""

    version = 2

    def row(self, item: StockItem, event: Recorded[Event]) -> Stock:
        return Stock(
            product=item.id,
            on_hand=item.on_hand,
            reserved=item.reserved,
            available=item.available,
            version=item.version,
        )
