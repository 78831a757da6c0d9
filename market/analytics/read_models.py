"""What analytics counts, from the events of orders. When the zone changes, all of it is counted anew."""

from functools import partial

from msgspec.structs import replace

from craton.application import Projection, Rows
from craton.domain import Recorded, Total
from market.analytics.api import Day, Revenue, Sales
from market.analytics.settings import AnalyticsSettings
from market.ordering.events import OrderCancelled, OrderConfirmed, OrderDelivered, OrderLine, OrderPlaced


class SalesByProduct(Projection):
    """What was sold of each product on each day."""

    settings: AnalyticsSettings
    sales: Rows[Sales]

    def project(self, event: Recorded[OrderConfirmed | OrderCancelled]) -> None:
        day, (lines, sign) = self.settings.zone.day_of(event.time), _sold(event.data)
        for line in lines:
            nothing = Total.zero(line.unit_price.currency)
            self.sales.put_new(Sales(product=line.product, day=day, quantity=0, revenue=nothing))
            self.sales.fold(line.product, day, by=partial(_with_line, line, sign))


class RevenueByCurrency(Projection):
    """The value of the sales in each currency on each day."""

    settings: AnalyticsSettings
    revenue: Rows[Revenue]

    def project(self, event: Recorded[OrderConfirmed | OrderCancelled]) -> None:
        day, (lines, sign) = self.settings.zone.day_of(event.time), _sold(event.data)
        if not lines:
            return
        currency = lines[0].unit_price.currency
        self.revenue.put_new(Revenue(currency=currency, day=day, orders=0, revenue=Total.zero(currency)))
        self.revenue.fold(currency, day, by=partial(_with_order, lines, sign))


class Days(Projection):
    """How many orders came how far on each day."""

    settings: AnalyticsSettings
    days: Rows[Day]

    def project(self, event: Recorded[OrderPlaced | OrderConfirmed | OrderCancelled | OrderDelivered]) -> None:
        day = self.settings.zone.day_of(event.time)
        self.days.put_new(Day(day=day))
        self.days.fold(day, by=partial(_with_step, _STEPS[type(event.data)]))


_STEPS = {OrderPlaced: "placed", OrderConfirmed: "confirmed", OrderCancelled: "cancelled", OrderDelivered: "delivered"}


def _sold(event: OrderConfirmed | OrderCancelled) -> tuple[tuple[OrderLine, ...], int]:
    """The lines that an event concerns, and whether they are sold (1) or taken back (-1)."""
    return (event.lines, 1) if isinstance(event, OrderConfirmed) else (event.returned, -1)


def _with_line(line: OrderLine, sign: int, row: Sales) -> Sales:
    revenue = row.revenue + line.subtotal * sign
    return replace(row, quantity=row.quantity + sign * line.quantity, revenue=revenue)


def _with_order(lines: tuple[OrderLine, ...], sign: int, row: Revenue) -> Revenue:
    revenue = row.revenue
    for line in lines:
        revenue += line.subtotal * sign
    return replace(row, orders=row.orders + sign, revenue=revenue)


def _with_step(step: str, row: Day) -> Day:
    return replace(row, **{step: getattr(row, step) + 1})
