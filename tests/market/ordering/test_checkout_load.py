"""Two hundred orders at once for the last fifty pieces, paid with good cards, bad ones, slow ones, and from wallets.

What a card comes to, the sandbox says by its name; who orders how is drawn by chance, the same in each run.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.crash.market_shop import Books, balanced_here
from tests.market.shop import Person, Shop

PIECES = 50
ORDERS = 200
BUYERS = 20
BROKE = 3
"""So many of the buyers have nothing in their wallets."""
PRICE_CENTS = 1_999
SEED = 20_260_131

GOOD = {"pm_card_visa": 50, "wallet": 20, "pm_card_timeout": 10}
BAD = {
    "pm_card_declined": "The payment has failed: card_declined.",
    "pm_card_insufficient_funds": "The payment has failed: insufficient_funds.",
    "pm_card_authentication": "The payment has failed: timed out.",
    "pm_card_unreachable": "The payment has failed: timed out.",
    "wallet": "The payment has failed: insufficient-funds.",
}
METHODS = GOOD | {
    "pm_card_declined": 15,
    "pm_card_unreachable": 10,
    "pm_card_insufficient_funds": 5,
    "pm_card_authentication": 5,
}


@pytest.fixture
async def shop(store_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    """A market in which a payment that doesn't come about is soon given up."""
    shop = Shop(store_url, tmp_path, settings={"CRATON_PAYMENTS_PATIENCE": "4"})
    try:
        async with shop:
            yield shop
    finally:
        await shop.drop()


async def open_shop(shop: Shop) -> list[Person]:
    """Fifty pieces on the shelf; return the buyers, whose wallets are full but for those of the last ones."""
    await shop.add_product("19.99", stock=PIECES, id="knife")
    buyers = list(await asyncio.gather(*(shop.register(f"Buyer{number}") for number in range(BUYERS))))
    money = {"money": {"amount": "9999.00", "currency": "EUR"}, "payment_method": "pm_card_visa"}
    for buyer in buyers[:-BROKE]:
        assert (await buyer.post("/v2/wallet/deposit", money)).status == 202
    for buyer in buyers[:-BROKE]:
        await shop.seen(buyer, "/v2/wallet", lambda wallet: wallet["balance"]["amount"] == "9999.00")
    return buyers


async def order_at_once(shop: Shop, orders: Sequence[tuple[Person, str]]) -> dict[str, tuple[Person, str]]:
    """Place all of them at the same moment; return who pays how for which order."""

    async def place(buyer: Person, method: str) -> str:
        return await shop.place(buyer, {"knife": 1}, *(("wallet",) if method == "wallet" else ("card", method)))

    ids = await asyncio.gather(*(place(*order) for order in orders))
    return dict(zip(ids, orders, strict=True))


async def assert_all_is_in_order(shop: Shop, books: Books, buyers: Sequence[Person]) -> None:
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
            "Welcome": len(buyers) + 1,
            "Order confirmation": len(books.orders),
            "Order cancelled": cancelled,
            "Payment refunded": payments["refunded"],
        }
    )
    lines = (await admin.get("/v1/trial-balance")).json["lines"]
    assert [line["difference"]["amount"] for line in lines] == ["0.00"]
    problems = [problem for running in shop.app.running.values() async for problem in running.verify()]
    assert problems == []


def drawn(buyers: Sequence[Person], methods: dict[str, int], count: int = ORDERS) -> list[tuple[Person, str]]:
    chance = random.Random(SEED)
    chosen = chance.choices(list(methods), list(methods.values()), k=count)
    return [(buyers[number % len(buyers)], method) for number, method in enumerate(chosen)]


def endings(books: Books, orders: dict[str, Any]) -> Counter[str]:
    """How these orders have ended: "confirmed", or why not."""
    return Counter(books.orders[order].reason or books.orders[order].status for order in orders)


async def test_of_two_hundred_who_can_all_pay_exactly_fifty_get_one_of_the_last_fifty_pieces(shop: Shop) -> None:
    buyers = await open_shop(shop)

    orders = await order_at_once(shop, drawn(buyers[:-BROKE], GOOD))

    books = await balanced_here(shop.app, shop.mails)
    assert books.orders.keys() == orders.keys()
    assert endings(books, orders) == {"confirmed": PIECES, "Of knife only 0 are available.": ORDERS - PIECES}
    await assert_all_is_in_order(shop, books, buyers)


async def test_pieces_that_were_kept_for_those_who_could_not_pay_are_sold_to_others(shop: Shop) -> None:
    buyers = await open_shop(shop)

    first = await order_at_once(shop, drawn(buyers, METHODS))

    books = await balanced_here(shop.app, shop.mails)
    assert books.orders.keys() == first.keys()
    for order, (buyer, method) in first.items():
        refused = method not in GOOD or (method == "wallet" and buyer in buyers[-BROKE:])
        allowed = {"Of knife only 0 are available.", BAD[method] if refused else ""}
        assert books.orders[order].reason in allowed, (method, books.orders[order])
    left = PIECES - endings(books, first)["confirmed"]
    assert 0 < left < PIECES
    await assert_all_is_in_order(shop, books, buyers)

    second = await order_at_once(shop, drawn(buyers[:-BROKE], GOOD, left + BUYERS))

    books = await balanced_here(shop.app, shop.mails)
    assert endings(books, second) == {"confirmed": left, "Of knife only 0 are available.": BUYERS}
    assert books.endings["confirmed"] == PIECES
    await assert_all_is_in_order(shop, books, buyers)
