"""Stock and reservations: what is available is what is on hand less what is reserved, and never less than nothing."""

import asyncio

import pytest

from craton.application import CommandKey, Context
from craton.application.api import operation_of
from craton.domain import Id, Name
from craton.testing import RunningApp, settled
from market.catalog.api import Catalog
from market.catalog.events import ProductId
from market.inventory.api import Inventory
from market.inventory.domain import MAX_ON_HAND, StockItem
from market.inventory.events import (
    GoodsTaken,
    InsufficientStock,
    Line,
    ReservationGone,
    ReservationNotFound,
    ReservationStatus,
    StockDepleted,
    StockReleased,
    StockReserved,
    StockRestocked,
    StockUpdated,
    TooMuchStock,
    UnknownProduct,
)
from tests.market.money import eur
from tests.market.refusals import code_of
from tests.market.shop import Shop

ORDER = Id.new()


def shelf(on_hand: int) -> StockItem:
    item = StockItem(ProductId("knife"))
    item.restock(on_hand)
    return item


def lines(**wanted: int) -> tuple[Line, ...]:
    return tuple(Line(product=ProductId(product), quantity=quantity) for product, quantity in wanted.items())


async def stocked(market: RunningApp, **quantities: int) -> Inventory:
    catalog, inventory = market.api(Catalog), market.api(Inventory)
    for product, quantity in quantities.items():
        await catalog.add(Name(product), eur("1.00"), id=ProductId(product))
        await inventory.restock(ProductId(product), quantity)
    return inventory


async def counts(inventory: Inventory, product: str) -> tuple[int, int, int]:
    """On hand, reserved and available."""
    stock = await inventory.stock(ProductId(product))
    return stock.on_hand, stock.reserved, stock.available


async def events(market: RunningApp, stream: str) -> list[str]:
    """The types of all events of a stream."""
    page = await market.app.running["inventory"].store.read_feed(0, 10_000)
    return [event.type for event in page.events if event.stream == stream]


# --- the shelf -----------------------------------------------------------------------------------------------


def test_what_is_reserved_is_on_hand_and_not_available() -> None:
    item = shelf(10)

    item.reserve(ORDER, 4)

    assert (item.on_hand, item.reserved, item.available) == (10, 4, 6)


def test_no_more_is_reserved_than_is_available() -> None:
    item = shelf(10)
    item.reserve(ORDER, 4)

    with pytest.raises(InsufficientStock) as refused:
        item.reserve(Id.new(), 7)

    assert (refused.value.product, refused.value.available) == ("knife", 6)
    assert str(refused.value) == "Of knife only 6 are available."


def test_the_last_piece_that_is_reserved_depletes_the_stock() -> None:
    item = shelf(2)

    item.reserve(ORDER, 1)
    item.reserve(ORDER, 1)

    assert item.recorded == (
        StockRestocked(quantity=2, on_hand=2),
        StockReserved(order=ORDER, quantity=1),
        StockReserved(order=ORDER, quantity=1),
        StockDepleted(),
    )


def test_what_leaves_the_shelf_was_reserved_before() -> None:
    item = shelf(10)
    item.reserve(ORDER, 4)

    item.take(ORDER, 4)

    assert (item.on_hand, item.reserved, item.available) == (6, 0, 6)
    assert item.recorded[-1] == StockUpdated(order=ORDER, quantity=4, on_hand=6)


def test_what_is_let_go_of_is_available_again() -> None:
    item = shelf(10)
    item.reserve(ORDER, 10)

    item.release(ORDER, 10)

    assert (item.on_hand, item.reserved, item.available) == (10, 0, 10)
    assert item.recorded[-1] == StockReleased(order=ORDER, quantity=10)


def test_a_shelf_holds_a_billion() -> None:
    item = shelf(MAX_ON_HAND)

    with pytest.raises(TooMuchStock):
        item.restock(1)

    assert item.on_hand == MAX_ON_HAND == 1_000_000_000


# --- reservations --------------------------------------------------------------------------------------------


async def test_an_order_keeps_all_that_it_wants(market: RunningApp) -> None:
    inventory = await stocked(market, knife=10, fork=10)

    await inventory.reserve(ORDER, lines(knife=2, fork=3))

    assert (await counts(inventory, "knife"), await counts(inventory, "fork")) == ((10, 2, 8), (10, 3, 7))
    assert await inventory.reservation(ORDER) is ReservationStatus.RESERVED
    assert await inventory.reservation(Id.new()) is None


async def test_all_lines_or_none(market_in_memory: RunningApp) -> None:
    inventory = await stocked(market_in_memory, knife=10, fork=1)

    assert await code_of(inventory.reserve(ORDER, lines(knife=2, fork=2))) == "insufficient-stock"
    with pytest.raises(UnknownProduct) as unknown:
        await inventory.reserve(ORDER, lines(knife=2, spoon=1))

    assert unknown.value.product == "spoon"
    assert (await counts(inventory, "knife"), await counts(inventory, "fork")) == ((10, 0, 10), (1, 0, 1))
    assert await inventory.reservation(ORDER) is None
    await inventory.reserve(ORDER, lines(knife=2, fork=1))  # what was refused may be asked for again


async def test_the_same_product_on_two_lines_is_added_up(market_in_memory: RunningApp) -> None:
    inventory = await stocked(market_in_memory, knife=10)
    twice = lines(knife=6) + lines(knife=4)

    assert await code_of(inventory.reserve(Id.new(), twice + lines(knife=1))) == "insufficient-stock"
    await inventory.reserve(ORDER, twice)

    assert await counts(inventory, "knife") == (10, 10, 0)
    await inventory.commit(ORDER)
    assert await counts(inventory, "knife") == (0, 0, 0)


async def test_a_quantity_is_more_than_nothing(market_in_memory: RunningApp) -> None:
    inventory = await stocked(market_in_memory, knife=10, fork=10)

    for wanted in (lines(knife=0), lines(knife=-1), lines(knife=5, fork=0)):
        assert await code_of(inventory.reserve(ORDER, wanted)) == "quantity-not-positive"

    assert await counts(inventory, "knife") == (10, 0, 10)


async def test_a_line_cannot_take_away_from_another(market_in_memory: RunningApp) -> None:
    inventory = await stocked(market_in_memory, knife=10)

    for less in (0, -3, -5):
        wanted = lines(knife=5) + lines(knife=less)
        assert await code_of(inventory.reserve(ORDER, wanted)) == "quantity-not-positive"

    assert await counts(inventory, "knife") == (10, 0, 10)
    assert await inventory.reservation(ORDER) is None


async def test_the_same_order_twice_is_one_reservation(market: RunningApp) -> None:
    inventory = await stocked(market, knife=10)

    await asyncio.gather(*(inventory.reserve(ORDER, lines(knife=2)) for _ in range(5)))
    await inventory.reserve(ORDER, lines(knife=7))

    assert await counts(inventory, "knife") == (10, 2, 8)
    await inventory.commit(ORDER)
    await inventory.reserve(ORDER, lines(knife=2))
    assert await counts(inventory, "knife") == (8, 0, 8)


async def test_a_reservation_is_released_any_number_of_times(market_in_memory: RunningApp) -> None:
    inventory = await stocked(market_in_memory, knife=10)
    await inventory.reserve(ORDER, lines(knife=2))

    for _ in range(3):
        await inventory.release(ORDER)

    assert await counts(inventory, "knife") == (10, 0, 10)
    assert await inventory.reservation(ORDER) is ReservationStatus.RELEASED
    assert await events(market_in_memory, "stockitem-knife") == ["StockRestocked", "StockReserved", "StockReleased"]


async def test_what_was_released_before_it_was_made_never_will_be(market_in_memory: RunningApp) -> None:
    inventory = await stocked(market_in_memory, knife=10)

    for let_go in (inventory.release, inventory.take_back):
        order = Id.new()
        await let_go(order)
        await let_go(order)
        with pytest.raises(ReservationGone):
            await inventory.reserve(order, lines(knife=2))
        with pytest.raises(ReservationGone):
            await inventory.commit(order)

    assert await counts(inventory, "knife") == (10, 0, 10)


async def test_what_was_committed_is_not_released_but_taken_back(market: RunningApp) -> None:
    inventory = await stocked(market, knife=10)
    await inventory.reserve(ORDER, lines(knife=10))
    for _ in range(2):
        await inventory.commit(ORDER)
    assert await counts(inventory, "knife") == (0, 0, 0)

    with pytest.raises(GoodsTaken):
        await inventory.release(ORDER)
    for _ in range(2):
        await inventory.take_back(ORDER)

    assert await counts(inventory, "knife") == (10, 0, 10)
    assert await inventory.reservation(ORDER) is ReservationStatus.RESTOCKED
    assert await events(market, "stockitem-knife") == [
        "StockRestocked",
        "StockReserved",
        "StockDepleted",
        "StockUpdated",
        "StockRestocked",
    ]
    assert await events(market, f"reservation-{ORDER}") == [
        "ReservationMade",
        "ReservationCommitted",
        "ReservationRestocked",
    ]
    assert await code_of(inventory.commit(ORDER)) == "reservation-gone"
    assert await code_of(inventory.reserve(ORDER, lines(knife=1))) == "reservation-gone"


async def test_what_was_never_reserved_cannot_be_committed(market_in_memory: RunningApp) -> None:
    inventory = await stocked(market_in_memory, knife=10)

    with pytest.raises(ReservationNotFound):
        await inventory.commit(ORDER)

    await inventory.reserve(ORDER, lines(knife=1))  # that it was asked for too early changes nothing


async def test_an_order_has_a_line_and_no_more_than_a_hundred(market_in_memory: RunningApp) -> None:
    inventory = await stocked(market_in_memory, knife=1_000)

    for wanted in ((), lines(knife=1) * 101):
        with pytest.raises(Exception, match="length"):  # as a call between processes checks it
            await inventory.reserve(ORDER, wanted)
    await inventory.reserve(ORDER, lines(knife=1) * 100)

    assert await counts(inventory, "knife") == (1_000, 100, 900)


# --- many at once --------------------------------------------------------------------------------------------


async def test_of_two_hundred_orders_for_the_last_fifty_pieces_fifty_succeed(market: RunningApp) -> None:
    inventory = await stocked(market, knife=50)
    orders = [Id.new() for _ in range(200)]

    codes = await asyncio.gather(*(code_of(inventory.reserve(order, lines(knife=1))) for order in orders))

    assert (codes.count(""), codes.count("insufficient-stock")) == (50, 150)
    assert await counts(inventory, "knife") == (50, 50, 0)
    made = [order for order, code in zip(orders, codes, strict=True) if not code]
    await asyncio.gather(
        *(inventory.commit(order) for order in made[:20]), *(inventory.release(order) for order in made[20:])
    )
    assert await counts(inventory, "knife") == (30, 0, 30)


async def test_orders_for_the_same_products_in_other_orders_do_not_block_each_other(
    market_in_memory: RunningApp,
) -> None:
    inventory = await stocked(market_in_memory, knife=100, fork=100)

    async def reserve_and_release(number: int) -> str:
        order = Id.new()
        wanted = lines(knife=1, fork=1) if number % 2 else lines(fork=1, knife=1)
        return await code_of(inventory.reserve(order, wanted)) or await code_of(inventory.take_back(order))

    codes = await asyncio.gather(*(reserve_and_release(number) for number in range(60)))

    assert set(codes) == {""}
    assert (await counts(inventory, "knife"), await counts(inventory, "fork")) == ((100, 0, 100), (100, 0, 100))


async def test_reserving_and_releasing_an_order_at_once_keeps_nothing(market_in_memory: RunningApp) -> None:
    inventory = await stocked(market_in_memory, knife=20)

    for _ in range(20):
        order = Id.new()
        reserved, released = await asyncio.gather(
            code_of(inventory.reserve(order, lines(knife=1))), code_of(inventory.release(order))
        )
        assert (reserved in ("", "reservation-gone"), released) == (True, "")

    assert await counts(inventory, "knife") == (20, 0, 20)


# --- routes --------------------------------------------------------------------------------------------------


async def test_everybody_sees_the_stock_and_only_administrators_fill_it(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    admin, ada, product = await shop.admin(), await shop.register("Ada"), await shop.add_product()
    path = f"/v1/products/{product}/stock"

    assert (await shop.nobody.get(path)).code == "stock-not-found"
    refused = [await who.post(path, {"quantity": 5}) for who in (shop.nobody, ada)]
    added = await admin.post(path, {"quantity": 5}, {"Idempotency-Key": "delivery-1"})
    again = await admin.post(path, {"quantity": 5}, {"Idempotency-Key": "delivery-1"})
    more = await admin.post(path, {"quantity": 1})

    assert [answer.status for answer in refused] == [401, 403]
    assert [answer.status for answer in (added, again, more)] == [204] * 3
    shown = await shop.nobody.get(path, more.position)
    assert shown.json == {"product": product, "on_hand": 6, "reserved": 0, "available": 6, "version": 2}
    assert shown.headers["etag"] == '"2"'


async def test_only_a_whole_number_above_nothing_is_a_quantity(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    admin, product = await shop.admin(), await shop.add_product()

    for quantity in (0, -1, 1.5, "5", True, None, 1_000_001):
        refused = await admin.post(f"/v1/products/{product}/stock", {"quantity": quantity})
        assert (quantity, refused.status, refused.json["path"]) == (quantity, 422, "$.quantity")


async def test_only_what_the_catalog_knows_is_stocked(shop_sqlite: Shop) -> None:
    admin = await shop_sqlite.admin()

    assert (await admin.post("/v1/products/nothing/stock", {"quantity": 1})).code == "product-not-found"
    assert (await shop_sqlite.nobody.get("/v1/products/..%2F/stock")).status in (404, 422)


# --- what happens elsewhere ----------------------------------------------------------------------------------


async def test_a_cancelled_order_gives_its_goods_back_once(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, product = await shop.register("Ada"), await shop.add_product(stock=10)
    order = (await shop.order(ada, {product: 4}))["id"]
    inventory = shop.api(Inventory)

    await settled(shop.app)
    assert await inventory.reservation(Id(order)) is ReservationStatus.COMMITTED
    assert await counts(inventory, product) == (6, 0, 6)

    assert (await ada.post(f"/v1/orders/{order}/cancel", {"reason": "too many"})).status == 204

    await settled(shop.app)
    assert await inventory.reservation(Id(order)) is ReservationStatus.RESTOCKED
    assert await counts(inventory, product) == (10, 0, 10)


async def test_a_command_that_is_told_again_is_done_once(market_in_memory: RunningApp) -> None:
    inventory = await stocked(market_in_memory, knife=10)
    restock = operation_of(Inventory.restock)
    arguments = restock.bind((), {"product": ProductId("knife"), "quantity": 5})

    answers = [
        await market_in_memory.app.call(restock, arguments, Context(key=CommandKey("delivery-7"), actor="x"))
        for _ in range(3)
    ]

    assert [answer.replayed for answer in answers] == [False, True, True]
    assert await counts(inventory, "knife") == (15, 0, 15)


def test_what_an_order_gives_back_finds_room_on_a_full_shelf() -> None:
    item = shelf(MAX_ON_HAND)
    item.reserve(ORDER, 500)
    item.take(ORDER, 500)
    item.restock(500)

    item.restock(500, ORDER)

    assert item.on_hand == MAX_ON_HAND + 500
    with pytest.raises(TooMuchStock):
        item.restock(1)
