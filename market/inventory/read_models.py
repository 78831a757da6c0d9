"""What inventory shows."""

from msgspec.structs import replace

from craton.application import Key, Projection, Row, Rows
from craton.domain import Recorded
from market.inventory.api import Stock
from market.inventory.domain import ProductId, StockReleased, StockReserved, StockRestocked, StockUpdated


class StockRow(Row):
    product: Key[ProductId]
    state: Stock


class Stocks(Projection):
    """How many there are of each product."""

    version = 1
    stocks: Rows[StockRow]

    def project(self, event: Recorded[StockReserved | StockReleased | StockUpdated | StockRestocked]) -> None:
        product = ProductId(event.subject)
        nothing = Stock(product=product, on_hand=0, reserved=0, available=0, version=0)
        self.stocks.put_new(StockRow(product=product, state=nothing))
        self.stocks.change(product, change=lambda row: replace(row, state=_after(row.state, event.data, event.version)))


def _after(state: Stock, fact: StockReserved | StockReleased | StockUpdated | StockRestocked, version: int) -> Stock:
    on_hand, reserved = state.on_hand, state.reserved
    match fact:
        case StockReserved(quantity=quantity):
            reserved += quantity
        case StockReleased(quantity=quantity):
            reserved -= quantity
        case StockUpdated(quantity=quantity, on_hand=on_hand):
            reserved -= quantity
        case StockRestocked(on_hand=on_hand):
            pass
    return replace(state, on_hand=on_hand, reserved=reserved, available=on_hand - reserved, version=version)
