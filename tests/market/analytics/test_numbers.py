"""The numbers of analytics: right to the cent against a recount of all orders, whatever happens meanwhile."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from craton.application import Paging
from craton.domain import Currency, Id, Money, Name, Text
from craton.ports import Changeset, Statement
from craton.testing import RunningApp, TurnedClock
from market.analytics.api import Analytics
from market.catalog.api import Catalog
from market.catalog.events import ProductId
from market.identity.api import Identity
from market.identity.events import EmailAddress, Password
from market.inventory.api import Inventory
from market.ledger.api import Ledger
from market.modules import MODULES
from market.ordering.api import Item, Order, Ordering
from market.ordering.events import OrderId, OrderStatus, PayWith
from tests.market.conftest import QUICK_ADAPTERS
from tests.market.place import Place

EVERYTHING = Paging(1, 100)
SOLD = (OrderStatus.CONFIRMED, OrderStatus.SHIPPED, OrderStatus.DELIVERED)
PRICES = {"spoon": "7.90", "pan": "45.55", "knife": "89.01"}


class Town:
    """A market with goods, and a buyer whose wallet is full."""

    def __init__(self, app: RunningApp) -> None:
        self.app = app
        self.analytics = app.api(Analytics)
        self.orders = app.api(Ordering)

    async def open(self) -> "Town":
        password = Password("correct horse battery")
        self.buyer = await self.app.api(Identity).register(EmailAddress("ada@example.com"), Name("Ada"), password)
        for product, price in PRICES.items():
            await self.app.api(Catalog).add(Name(product), Money.of(price, "EUR"), id=ProductId(product))
            await self.app.api(Inventory).restock(ProductId(product), 1_000)
        await self.app.api(Catalog).add(Name("tea"), Money.of("700", "JPY"), id=ProductId("tea"))
        await self.app.api(Inventory).restock(ProductId("tea"), 1_000)
        for money in (Money.of("100000.00", "EUR"), Money.of("1000000", "JPY")):
            await self.app.api(Ledger).deposit_to_wallet(Name(self.buyer), money)
        await self.app.settled()
        return self

    async def order(self, **quantities: int) -> OrderId:
        items = tuple(
            Item(product_id=ProductId(product), quantity=quantity) for product, quantity in quantities.items()
        )
        return (await self.orders.place(Id(self.buyer), items, PayWith.WALLET)).order_id

    async def all_orders(self) -> list[Order]:
        found: list[Order] = []
        while True:
            page = await self.orders.orders(paging=Paging(len(found) // 100 + 1, 100))
            found += page.items
            if len(found) >= page.total:
                return found

    async def require_right_numbers(self) -> None:
        """Compare with a recount of all orders."""
        quantities: Counter[str] = Counter()
        values: dict[str, Money] = {}
        statuses: Counter[OrderStatus] = Counter()
        for order in await self.all_orders():
            statuses[order.status] += 1
            for line in order.lines if order.status in SOLD else ():
                quantities[line.product_id] += line.quantity
                product = str(line.product_id)
                values[product] = values[product] + line.subtotal if product in values else line.subtotal
        sales = (await self.analytics.sales(paging=EVERYTHING)).items
        assert {sale.product: sale.quantity for sale in sales if sale.quantity} == quantities
        assert {str(sale.product): str(sale.revenue) for sale in sales if sale.quantity} == {
            product: str(value) for product, value in values.items()
        }
        total = sum(value.minor for product, value in values.items() if product != "tea")
        revenue = {one.currency: one for one in (await self.analytics.revenue(paging=EVERYTHING)).items}
        assert (revenue[Currency("EUR")].revenue.minor if "EUR" in revenue else 0) == total
        funnel = await self.analytics.funnel()
        assert funnel.placed == sum(statuses.values())
        assert funnel.cancelled == statuses[OrderStatus.CANCELLED]
        assert funnel.delivered == statuses[OrderStatus.DELIVERED]


@pytest.fixture
async def place(store_url: str, tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(store_url, tmp_path, MODULES)
    yield place
    await place.drop()


@pytest.fixture
async def town(place: Place) -> AsyncIterator[Town]:
    async with place.run(replace=QUICK_ADAPTERS) as app:
        yield await Town(app).open()


async def test_a_sale_counts_when_its_order_is_confirmed(town: Town) -> None:
    await town.order(spoon=2, pan=1)
    await town.order(tea=3)
    await town.app.settled()

    day = town.app.clock.time.date()
    items = (await town.analytics.sales()).items
    sales = {sale.product: (sale.day, sale.quantity, str(sale.revenue)) for sale in items}
    assert sales == {
        "spoon": (day, 2, "15.80 EUR"),
        "pan": (day, 1, "45.55 EUR"),
        "tea": (day, 3, "2100 JPY"),
    }
    revenue = {(one.currency, one.orders, str(one.revenue)) for one in (await town.analytics.revenue()).items}
    assert revenue == {("EUR", 1, "61.35 EUR"), ("JPY", 1, "2100 JPY")}
    await town.require_right_numbers()


async def test_what_is_cancelled_before_it_is_confirmed_was_never_sold(town: Town) -> None:
    await town.order(spoon=1_001)
    await town.app.settled()

    assert (await town.analytics.sales()).total == 0
    funnel = await town.analytics.funnel()
    assert (funnel.placed, funnel.confirmed, funnel.cancelled) == (1, 0, 1)


async def test_what_is_cancelled_later_is_taken_off_on_that_day(town: Town) -> None:
    kept, returned = await town.order(spoon=1), await town.order(spoon=2)
    await town.app.settled()
    first = town.app.clock.time.date()
    town.app.clock.turn(days=1)

    await town.orders.cancel(returned, Text("I have enough spoons"))
    await town.app.settled()

    sales = [(sale.day, sale.quantity, str(sale.revenue)) for sale in (await town.analytics.sales()).items]
    assert sales == [(first.replace(day=first.day + 1), -2, "-15.80 EUR"), (first, 3, "23.70 EUR")]
    assert (await town.orders.order(kept)).status in SOLD
    assert await town.analytics.funnel() == await town.analytics.funnel(from_=first)
    assert (await town.analytics.funnel(from_=first.replace(day=first.day + 1))).placed == 0


async def test_numbers_are_found_by_days_and_product(town: Town) -> None:
    for _ in range(3):
        await town.order(spoon=1, pan=1)
        await town.app.settled()
        town.app.clock.turn(days=1)
    days = sorted({sale.day for sale in (await town.analytics.sales()).items})

    middle = await town.analytics.sales(from_=days[1], to=days[1])
    spoons = await town.analytics.sales(product=ProductId("spoon"))
    later = await town.analytics.revenue(from_=days[1], currency=Currency("EUR"))

    assert len(days) == 3
    assert {(sale.product, sale.day) for sale in middle.items} == {("spoon", days[1]), ("pan", days[1])}
    assert [sale.day for sale in spoons.items] == days[::-1]
    assert [one.day for one in later.items] == [days[2], days[1]]
    assert (await town.analytics.revenue(to=date.max)).total == 3
    assert (await town.analytics.revenue(currency=Currency("JPY"))).total == 0


async def test_after_many_orders_and_cancellations_the_numbers_equal_a_recount(town: Town) -> None:
    chance = random.Random(7)
    products = ["spoon", "pan", "knife"]

    async def buy() -> None:
        order = await town.order(**{product: chance.randint(1, 3) for product in chance.sample(products, 2)})
        fate = chance.random()
        if fate < 0.3:
            await asyncio.sleep(chance.random() / 20)
            await town.orders.cancel(order, Text("no"))

    await asyncio.gather(*(buy() for _ in range(40)))
    await town.app.settled()
    for order in (await town.all_orders())[:10]:
        if order.status is OrderStatus.CONFIRMED:
            await town.orders.ship(order.id)
            await town.orders.deliver(order.id)
    await town.app.settled()

    await town.require_right_numbers()
    assert [problem async for problem in town.app.app.running["analytics"].verify()] == []


async def test_a_rebuild_while_orders_flow_never_shows_a_half(town: Town) -> None:
    for _ in range(10):
        await town.order(spoon=1)
    await town.app.settled()
    least = (await town.analytics.sales()).items[0].quantity
    views = town.app.app.running["analytics"].projections
    seen: list[int] = []
    flowing = True

    async def look() -> None:
        while flowing:
            seen.append((await town.analytics.sales()).items[0].quantity)
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    for _ in range(5):
        await asyncio.gather(*(town.order(spoon=1) for _ in range(4)))
        for view in views.values():
            await view.rebuild()
    await town.app.settled()
    flowing = False
    await looking

    assert least == 10
    assert seen == sorted(seen)
    assert seen[0] >= least
    await town.require_right_numbers()
    assert {(await view.progress()).live for view in views.values()} != {1}


async def test_verify_says_which_number_was_changed(town: Town) -> None:
    await town.order(spoon=2)
    await town.app.settled()
    analytics = town.app.app.running["analytics"]
    live = (await analytics.projections["salesbyproduct"].progress()).live
    corrupted = f"UPDATE view_sales_{live} SET row = replace(row, '15.80', '15.81')"
    await analytics.store.write([Changeset(statements=[Statement(corrupted, {})])])

    problems = [problem async for problem in analytics.verify()]

    day = town.app.clock.time.date()
    assert problems == [f"sales spoon, {day}: the read model differs from the events"]


async def test_days_are_those_of_the_zone_and_another_zone_counts_anew(place: Place) -> None:
    just_before_midnight = TurnedClock(datetime(2026, 3, 28, 23, 30, tzinfo=UTC))
    days: dict[str, list[date]] = {}

    async with place.run(replace=QUICK_ADAPTERS, clock=just_before_midnight) as app:
        await (await Town(app).open()).order(spoon=1)
        await app.settled()
        days["UTC"] = [sale.day for sale in (await app.api(Analytics).sales()).items]
    for zone in ("Europe/Vienna", "America/New_York", "Asia/Kathmandu"):
        settings = {"CRATON_ANALYTICS_ZONE": zone}
        async with place.run(replace=QUICK_ADAPTERS, clock=just_before_midnight, settings=settings) as app:
            await app.settled()
            days[zone] = [sale.day for sale in (await app.api(Analytics).sales()).items]

    assert days == {
        "UTC": [date(2026, 3, 28)],
        "Europe/Vienna": [date(2026, 3, 29)],
        "America/New_York": [date(2026, 3, 28)],
        "Asia/Kathmandu": [date(2026, 3, 29)],
    }
