"""The front door of analytics. Others may import it."""

from __future__ import annotations

from datetime import date

from craton.application import Api, Column, Key, Page, Paging, Row, query
from craton.domain import Currency, Total, Value
from market.catalog.events import ProductId


class Analytics(Api):
    """Numbers about orders, by days in the zone of a setting. `from` and `to` are the first and the last day."""

    @query
    async def sales(
        self,
        *,
        from_: date | None = None,
        to: date | None = None,
        product: ProductId | None = None,
        paging: Paging = Paging(),
    ) -> Page[Sales]:
        """What was sold of each product on each day, the newest days first.

        An order counts on the day when it is confirmed. If it is cancelled later, it is taken off on that day.
        """

    @query
    async def revenue(
        self,
        *,
        from_: date | None = None,
        to: date | None = None,
        currency: Currency | None = None,
        paging: Paging = Paging(),
    ) -> Page[Revenue]:
        """The value of the sales in each currency on each day, the newest days first."""

    @query
    async def funnel(self, *, from_: date | None = None, to: date | None = None) -> Funnel:
        """How many orders were placed, confirmed, cancelled and delivered in a time."""


class Sales(Row):
    product: Key[ProductId]
    day: Key[date]
    quantity: int
    revenue: Total


class Revenue(Row):
    currency: Key[Currency]
    day: Key[date]
    orders: int
    """Orders that were confirmed, less those that were cancelled afterwards."""
    revenue: Total


class Day(Row):
    """What happened to orders on a day."""

    day: Key[date]
    placed: Column[int] = 0
    confirmed: Column[int] = 0
    cancelled: Column[int] = 0
    delivered: Column[int] = 0


class Funnel(Value):
    placed: int
    confirmed: int
    cancelled: int
    delivered: int
