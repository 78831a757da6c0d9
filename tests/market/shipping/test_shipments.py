"""Shipments: each order has one, and each step is recorded once, whatever the order of the commands."""

from datetime import UTC, date, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craton.domain import Event, Id
from craton.runtime import App
from craton.testing import RunningApp
from market.shipping.api import Shipping
from market.shipping.domain import Shipment
from market.shipping.events import (
    ShipmentCancelled,
    ShipmentDelivered,
    ShipmentId,
    ShipmentScheduled,
    ShipmentShipped,
    ShipmentStatus,
)
from tests.market.shop import Person, Shop

ORDER, RECIPIENT, DAY = Id.new(), Id.new(), date(2026, 2, 1)
TURNS = ("schedule", "ship", "deliver", "cancel")


def shipment(*turns: str) -> Shipment:
    made = Shipment(ShipmentId.derived(ORDER))
    for turn in turns:
        take(made, turn)
    return made


def take(made: Shipment, turn: str) -> None:
    match turn:
        case "schedule":
            made.schedule(ORDER, RECIPIENT, DAY)
        case "ship":
            made.ship()
        case "deliver":
            made.deliver()
        case "cancel":
            made.cancel(ORDER, RECIPIENT)


async def shown(shop: Shop, viewer: Person, order: str, status: str) -> Any:
    """The shipment of an order, once it has this status."""
    path = f"/v1/shipments/{ShipmentId.derived(Id(order))}"
    return await shop.seen(viewer, path, lambda found: found["status"] == status)


async def facts(app: App) -> list[str]:
    return [event.type async for event in app.running["shipping"].source.stored()]


# --- rules ---------------------------------------------------------------------------------------------------


def test_each_step_is_recorded() -> None:
    number = ShipmentId.derived(ORDER).tracking_number

    assert shipment("schedule", "ship", "deliver").recorded == (
        ShipmentScheduled(order=ORDER, recipient=RECIPIENT, tracking_number=number, day=DAY),
        ShipmentShipped(order=ORDER),
        ShipmentDelivered(order=ORDER),
    )


def test_a_tracking_number_is_the_orders_own_and_always_the_same() -> None:
    numbers = {ShipmentId.derived(Id.new()).tracking_number for _ in range(1_000)}

    assert len(numbers) == 1_000
    assert all(len(number) == 14 and number.startswith("CR") and number.isalnum() for number in numbers)
    assert ShipmentId.derived(ORDER).tracking_number == ShipmentId.derived(Id(str(ORDER))).tracking_number


@pytest.mark.parametrize(
    ("turns", "status", "recorded"),
    [
        (("schedule", "schedule"), ShipmentStatus.SCHEDULED, 1),
        (("schedule", "ship", "ship"), ShipmentStatus.SHIPPED, 2),
        (("schedule", "ship", "schedule"), ShipmentStatus.SHIPPED, 2),
        (("schedule", "ship", "deliver", "deliver", "ship"), ShipmentStatus.DELIVERED, 3),
        (("schedule", "cancel", "cancel"), ShipmentStatus.CANCELLED, 2),
        (("schedule", "ship", "cancel", "deliver"), ShipmentStatus.CANCELLED, 3),
        (("schedule", "ship", "deliver", "cancel"), ShipmentStatus.DELIVERED, 3),
        (("cancel", "schedule", "ship", "deliver"), ShipmentStatus.CANCELLED, 1),
        (("schedule", "deliver"), ShipmentStatus.SCHEDULED, 1),
    ],
    ids=str,
)
def test_a_step_that_is_repeated_or_too_late_changes_nothing(
    turns: tuple[str, ...], status: ShipmentStatus, recorded: int
) -> None:
    made = shipment(*turns)

    assert (made.status, len(made.recorded)) == (status, recorded)


@pytest.mark.parametrize("turns", list(permutations(TURNS)), ids="-".join)
def test_a_cancelled_shipment_is_not_sent_whatever_the_order_of_the_steps(turns: tuple[str, ...]) -> None:
    made = shipment(*turns)

    last = made.recorded[-1]
    assert isinstance(last, ShipmentCancelled if made.status is ShipmentStatus.CANCELLED else ShipmentDelivered)


@given(st.lists(st.sampled_from(TURNS), max_size=20))
def test_each_step_is_recorded_at_most_once(turns: list[str]) -> None:
    made = shipment(*turns)
    kinds: list[type[Event]] = [type(fact) for fact in made.recorded]

    assert len(set(kinds)) == len(kinds)
    again = Shipment(made.id)
    for fact in made.recorded:
        again.apply(fact)  # type: ignore[arg-type]
    assert again.status is made.status
    if turns:
        take(made, turns[-1])
        assert len(made.recorded) == len(kinds)


# --- with the rest of the market -----------------------------------------------------------------------------


async def test_an_order_goes_out_tomorrow_and_arrives(shop: Shop) -> None:
    ada, admin, product = await shop.register("Ada"), await shop.admin(), await shop.add_product(stock=1)
    order = (await shop.order(ada, {product: 1}))["id"]

    scheduled = await shown(shop, ada, order, "scheduled")
    assert (await admin.post(f"/v1/orders/{order}/ship")).status == 204
    await shown(shop, ada, order, "shipped")
    assert (await admin.post(f"/v1/orders/{order}/deliver")).status == 204
    delivered = await shown(shop, ada, order, "delivered")

    assert scheduled == {
        "id": ShipmentId.derived(Id(order)),
        "order": order,
        "tracking_number": ShipmentId.derived(Id(order)).tracking_number,
        "status": "scheduled",
        "scheduled_for": (datetime.now(UTC) + timedelta(days=1)).date().isoformat(),
        "version": 1,
    }
    assert delivered == {**scheduled, "status": "delivered", "version": 3}
    assert await facts(shop.app) == ["ShipmentScheduled", "ShipmentShipped", "ShipmentDelivered"]


async def test_the_goods_of_a_cancelled_order_are_called_back(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, admin, product = await shop.register("Ada"), await shop.admin(), await shop.add_product(stock=2)
    waiting, sent = [(await shop.order(ada, {product: 1}))["id"] for _ in range(2)]
    for order in (waiting, sent):
        await shown(shop, ada, order, "scheduled")
    await admin.post(f"/v1/orders/{sent}/ship")
    await shown(shop, ada, sent, "shipped")

    for order in (waiting, sent):
        assert (await ada.post(f"/v1/orders/{order}/cancel", {"reason": "changed my mind"})).status == 204
        await shown(shop, ada, order, "cancelled")

    assert (await facts(shop.app)).count("ShipmentCancelled") == 2


async def test_the_next_day_follows_the_clock(market_in_memory: RunningApp) -> None:
    shipping = market_in_memory.api(Shipping)
    market_in_memory.clock.turn_to(datetime(2026, 1, 31, 12, tzinfo=UTC))

    await shipping.schedule(ORDER, RECIPIENT)

    made = await shipping.shipment(ShipmentId.derived(ORDER))
    assert (made.status, made.scheduled_for) == (ShipmentStatus.SCHEDULED, DAY)


async def test_commands_may_be_repeated_and_come_in_any_order(market: RunningApp) -> None:
    shipping = market.api(Shipping)
    early, late, lost = Id.new(), Id.new(), Id.new()

    for _ in range(2):
        await shipping.cancel(early, RECIPIENT)  # before it is scheduled
        await shipping.schedule(early, RECIPIENT)
        await shipping.ship(early, RECIPIENT)
    for _ in range(2):
        await shipping.ship(late, RECIPIENT)  # before the checkout has scheduled it
        await shipping.schedule(late, RECIPIENT)
        await shipping.deliver(late)
        await shipping.cancel(late, RECIPIENT)
    await shipping.deliver(lost)

    never = await shipping.shipment(ShipmentId.derived(early))
    assert (never.status, never.tracking_number, never.scheduled_for) == (ShipmentStatus.CANCELLED, "", None)
    arrived = await shipping.shipment(ShipmentId.derived(late))
    assert (arrived.status, arrived.scheduled_for) == (ShipmentStatus.DELIVERED, market.clock().date())
    assert (await shipping.shipments(order=lost)).items == ()
    assert await facts(market.app) == ["ShipmentCancelled", "ShipmentScheduled", "ShipmentShipped", "ShipmentDelivered"]


async def test_recipients_see_their_own_shipments_and_the_staff_all(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, bob, admin = await shop.register("Ada"), await shop.register("Bob"), await shop.admin()
    product = await shop.add_product(stock=2)
    first, second = [(await shop.order(ada, {product: 1}))["id"] for _ in range(2)]
    for order in (first, second):
        await shown(shop, ada, order, "scheduled")
    path = f"/v1/shipments/{ShipmentId.derived(Id(first))}"

    assert [(await who.get(path)).status for who in (ada, admin, bob, shop.nobody)] == [200, 200, 403, 401]
    assert (await ada.get(f"/v1/shipments/{Id.new()}")).code == "shipment-not-found"
    assert (await ada.get("/v1/shipments/x")).status == 422
    assert (await ada.get("/v1/shipments?order=x")).status == 422

    async def listed(who: Person, query: str = "") -> list[str]:
        return [item["order"] for item in (await who.get(f"/v1/shipments{query}")).json["items"]]

    assert sorted(await listed(ada)) == sorted(await listed(admin)) == sorted([first, second])
    assert await listed(ada, f"?order={first}") == [first]
    assert await listed(bob) == await listed(bob, f"?order={first}") == []
    assert (await shop.nobody.get("/v1/shipments")).status == 401
    assert (await bob.post(f"/v1/orders/{first}/ship")).status == 403
