"""Two hundred people at once for the last fifty pieces, paying with good cards, bad ones, slow ones, and from wallets.

What a card comes to, the sandbox says by its name; who pays how is drawn by chance, the same in each run.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from craton.domain.world import now
from craton.testing import until
from tests.crash.market_shop import Books, balanced_here, read_books
from tests.market.shop import Person, Shop

PIECES = 50
BUYERS = 200
LATE = 20
"""So many people more than there are pieces left come when some were given back."""
PRICE_CENTS = 1_999
PATIENCE = timedelta(minutes=5)
"""After which a payment that doesn't come about is given up: more than all of it takes on a slow machine."""
SEED = 20_260_131

GOOD = {"pm_card_visa": 50, "full wallet": 20, "pm_card_timeout": 10}
BAD = {
    "pm_card_declined": "The payment has failed: card_declined.",
    "pm_card_insufficient_funds": "The payment has failed: insufficient_funds.",
    "pm_card_authentication": "The payment has failed: timed out.",
    "pm_card_unreachable": "The payment has failed: timed out.",
    "empty wallet": "The payment has failed: insufficient-funds.",
}
METHODS = GOOD | {
    "pm_card_declined": 15,
    "pm_card_unreachable": 10,
    "pm_card_insufficient_funds": 5,
    "pm_card_authentication": 5,
    "empty wallet": 5,
}


NEVER_PAID = [method for method, reason in BAD.items() if reason.endswith("timed out.")]


class Clock:
    """The time of day, which a test may put forward."""

    ahead = timedelta()

    def __call__(self) -> datetime:
        return now() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def shop(store_url: str, tmp_path: Path, clock: Clock) -> AsyncIterator[Shop]:
    patience = str(int(PATIENCE.total_seconds()))
    shop = Shop(store_url, tmp_path, clock=clock, settings={"CRATON_PAYMENTS_PATIENCE": patience})
    try:
        async with shop:
            yield shop
    finally:
        await shop.drop()


def drawn(methods: dict[str, int], count: int) -> list[str]:
    return random.Random(SEED).choices(list(methods), list(methods.values()), k=count)


async def come(shop: Shop, methods: Sequence[str]) -> list[tuple[Person, str]]:
    """Somebody new for each way to pay; return them when those who have a full wallet have it."""
    buyers = await asyncio.gather(*(shop.register("Buyer") for _ in methods))
    money = {"money": {"amount": "99.00", "currency": "EUR"}, "payment_method": "pm_card_visa"}
    wallets = [buyer for buyer, method in zip(buyers, methods, strict=True) if method == "full wallet"]
    for answer in await asyncio.gather(*(buyer.post("/v2/wallet/deposit", money) for buyer in wallets)):
        assert answer.status == 202
    for buyer in wallets:
        await shop.seen(buyer, "/v2/wallet", lambda wallet: wallet["balance"]["amount"] == "99.00")
    return list(zip(buyers, methods, strict=True))


async def order_at_once(shop: Shop, buyers: Sequence[tuple[Person, str]]) -> dict[str, str]:
    """Have each order a knife at the same moment; return how which order is paid."""

    async def place(buyer: Person, method: str) -> str:
        how = ("wallet",) if method.endswith("wallet") else ("card", method)
        return await shop.place(buyer, {"knife": 1}, *how)

    ids = await asyncio.gather(*(place(buyer, method) for buyer, method in buyers))
    return dict(zip(ids, (method for _, method in buyers), strict=True))


async def run_out_of_patience(shop: Shop, clock: Clock, orders: dict[str, str]) -> None:
    """Wait until all is decided but the payments that never come, and let their time be over."""

    async def only_they_are_left() -> bool:
        await asyncio.sleep(0.2)  # to read all of the books takes the market's time
        books = await read_books(shop.app, shop.mails)
        pending = {id: id in books.payments for id, order in books.orders.items() if order.status == "pending"}
        return books.orders.keys() == orders.keys() and all(
            orders[id] in NEVER_PAID and asked_for for id, asked_for in pending.items()
        )

    await until(only_they_are_left)
    clock.ahead += PATIENCE


async def assert_all_is_in_order(shop: Shop, books: Books) -> None:
    """What the routes show, what was mailed and what the audits find agrees with the books, and they are balanced."""
    admin = await shop.admin()
    sold = books.endings["confirmed"]
    cancelled = books.endings["cancelled"]
    assert books.problems() == []
    assert books.takings() == books.due() == sold * PRICE_CENTS
    assert sold + cancelled == len(books.orders)
    stock = await shop.stock("knife")
    assert (stock["on_hand"], stock["reserved"], stock["available"]) == (PIECES - sold, 0, PIECES - sold)

    async def total(path: str) -> int:
        return int((await admin.get(path)).json["total"])

    assert [await total(f"/v1/orders?status={status}") for status in ("pending", "confirmed")] == [0, sold]
    assert [await total(f"/v1/sagas?status={status}") for status in ("running", "compensating", "stuck")] == [0, 0, 0]
    payments = Counter[str]()
    for page in range(1, await total("/v2/payments?page_size=100") // 100 + 2):
        for payment in (await admin.get(f"/v2/payments?page_size=100&page={page}")).json["items"]:
            if payment["purpose"] == "order":
                payments[payment["status"]] += 1
    assert payments["succeeded"] == sold
    assert payments.keys() <= {"succeeded", "failed", "refunded"}
    mails = Counter(str(mail["subject"]) for mail in shop.letters())
    assert mails == +Counter(
        {
            "Welcome": len(books.orders) + 1,
            "Order confirmation": len(books.orders),
            "Order cancelled": cancelled,
            "Payment refunded": payments["refunded"],
        }
    )
    lines = (await admin.get("/v1/trial-balance")).json["lines"]
    assert [line["difference"]["amount"] for line in lines] == ["0.00"]
    problems = [problem for running in shop.app.running.values() async for problem in running.verify()]
    assert problems == []


def endings(books: Books, orders: dict[str, str]) -> Counter[str]:
    """How these orders have ended: "confirmed", or why not."""
    return Counter(books.orders[order].reason or books.orders[order].status for order in orders)


async def test_of_two_hundred_who_can_all_pay_exactly_fifty_get_one_of_the_last_fifty_pieces(shop: Shop) -> None:
    await shop.add_product("19.99", stock=PIECES, id="knife")
    buyers = await come(shop, drawn(GOOD, BUYERS))

    orders = await order_at_once(shop, buyers)

    books = await balanced_here(shop.app, shop.mails)
    assert books.orders.keys() == orders.keys()
    assert endings(books, orders) == {"confirmed": PIECES, "Of knife only 0 are available.": BUYERS - PIECES}
    await assert_all_is_in_order(shop, books)


async def test_pieces_that_were_kept_for_those_who_could_not_pay_are_sold_to_others(shop: Shop, clock: Clock) -> None:
    await shop.add_product("19.99", stock=PIECES, id="knife")
    buyers = await come(shop, drawn(METHODS, BUYERS))

    first = await order_at_once(shop, buyers)
    await run_out_of_patience(shop, clock, first)

    books = await balanced_here(shop.app, shop.mails)
    assert books.orders.keys() == first.keys()
    for order, method in first.items():
        allowed = {"Of knife only 0 are available.", BAD.get(method, "")}
        assert books.orders[order].reason in allowed, (method, books.orders[order])
    left = PIECES - endings(books, first)["confirmed"]
    assert 0 < left < PIECES
    await assert_all_is_in_order(shop, books)

    second = await order_at_once(shop, await come(shop, drawn(GOOD, left + LATE)))

    books = await balanced_here(shop.app, shop.mails)
    assert endings(books, second) == {"confirmed": left, "Of knife only 0 are available.": LATE}
    assert books.endings["confirmed"] == PIECES
    await assert_all_is_in_order(shop, books)
