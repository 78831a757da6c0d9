"""How the numbers are looked up."""

from datetime import date, timedelta

from craton.application import Page, Paging, View, within
from craton.domain import Currency
from craton.ports import Range
from market.analytics.api import Analytics, Day, Funnel, Revenue, Sales
from market.catalog.events import ProductId


class AnalyticsService(Analytics):
    def __init__(self, sales: View[Sales], revenue: View[Revenue], days: View[Day]) -> None:
        self._sales = sales
        self._revenue = revenue
        self._days = days

    async def sales(
        self,
        *,
        from_: date | None = None,
        to: date | None = None,
        product: ProductId | None = None,
        paging: Paging = Paging(),
    ) -> Page[Sales]:
        return await self._sales.page(product=product, day=_days(from_, to), order="-day", paging=paging)

    async def revenue(
        self,
        *,
        from_: date | None = None,
        to: date | None = None,
        currency: Currency | None = None,
        paging: Paging = Paging(),
    ) -> Page[Revenue]:
        return await self._revenue.page(currency=currency, day=_days(from_, to), order="-day", paging=paging)

    async def funnel(self, *, from_: date | None = None, to: date | None = None) -> Funnel:
        steps = ("placed", "confirmed", "cancelled", "delivered")
        counted = {step: await self._days.sum(step, day=_days(from_, to)) for step in steps}
        return Funnel(**{step: sums.get((), 0) for step, sums in counted.items()})


def _days(first: date | None, last: date | None) -> Range | None:
    """The days from the first to the last; None: all days."""
    after = None if last is None or last == date.max else last + timedelta(days=1)
    return within(first, after)
