"""Wallets: each user's own account, which its first use opens and from which orders are paid."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import permutations
from typing import Any

import pytest

from craton.domain import Money, Name
from market.ledger.api import Ledger
from market.ledger.events import (
    AccountId,
    AccountKind,
    HoldExceeded,
    HoldResolved,
    InsufficientFunds,
    TransferId,
    TransferNotFound,
    TransferStatus,
)
from tests.market.bank import Bank
from tests.market.money import EUR, JPY, eur
from tests.market.refusals import code_of
from tests.market.shop import Person, Shop

ADA, BOB = Name("ada"), Name("bob")


async def filled(bank: Bank, amount: str = "100") -> None:
    await bank.ledger.deposit_to_wallet(ADA, eur(amount))


async def held(bank: Bank, amount: str = "40") -> TransferId:
    hold = TransferId.new()
    await bank.ledger.hold_in_wallet(ADA, eur(amount), hold)
    return hold


async def standing(bank: Bank) -> tuple[str, str, str, str]:
    """Ada's balance and how much of it is held, and the balances of the market and of the external account."""
    wallet = await bank.ledger.wallet(ADA)
    return str(wallet.balance.minor), str(wallet.held.minor), await minor(bank, SALES), await minor(bank, OUTSIDE)


SALES, OUTSIDE = AccountId.sales(EUR), AccountId.external(EUR)


async def minor(bank: Bank, account: AccountId) -> str:
    return "0" if await code_of(bank.ledger.account(account)) else str((await bank.balance(account)).minor)


async def requires_zero_sums(bank: Bank) -> None:
    assert not any((await bank.differences()).values())
    assert await bank.problems() == []


# --- an account of one's own ---------------------------------------------------------------------------------


async def test_a_wallet_that_was_never_used_is_shown_empty_and_not_stored(bank: Bank) -> None:
    wallet = await bank.ledger.wallet(ADA)

    assert (wallet.owner, wallet.kind, wallet.currency) == (ADA, AccountKind.LIABILITY, EUR)
    assert (wallet.balance, wallet.held, wallet.available, wallet.transaction_count) == (eur("0"),) * 3 + (0,)
    assert await code_of(bank.ledger.account(wallet.id)) == "account-not-found"
    assert await bank.differences() == {}


async def test_a_wallet_is_opened_at_its_first_use(bank: Bank) -> None:
    await filled(bank)

    wallet = await bank.ledger.wallet(ADA)
    assert (wallet.id, wallet.balance) == (AccountId.wallet(ADA, EUR), eur("100"))
    assert await bank.ledger.account(wallet.id) == wallet
    assert await standing(bank) == ("10000", "0", "0", "-10000")
    await requires_zero_sums(bank)


async def test_each_user_has_a_wallet_for_each_currency(bank: Bank) -> None:
    for owner in (ADA, BOB):
        for money in (eur("1"), Money.of("5", JPY)):
            await bank.ledger.deposit_to_wallet(owner, money)
            await bank.ledger.deposit_to_wallet(owner, money)

    wallets = [await bank.ledger.wallet(owner, currency=currency) for owner in (ADA, BOB) for currency in (EUR, JPY)]

    assert len({wallet.id for wallet in wallets}) == 4
    assert [wallet.balance for wallet in wallets] == [eur("2"), Money.of("10", JPY)] * 2
    await requires_zero_sums(bank)


async def test_first_uses_of_a_wallet_may_come_at_once(bank: Bank) -> None:
    await asyncio.gather(*(bank.ledger.deposit_to_wallet(ADA, eur("1")) for _ in range(40)))

    assert await bank.balance(AccountId.wallet(ADA, EUR)) == eur("40")
    await requires_zero_sums(bank)


async def test_a_wallet_can_be_emptied_but_not_overdrawn(bank: Bank) -> None:
    await filled(bank)

    await bank.ledger.withdraw_from_wallet(ADA, eur("60"))
    with pytest.raises(InsufficientFunds) as refused:
        await bank.ledger.withdraw_from_wallet(ADA, eur("40.01"))
    await bank.ledger.withdraw_from_wallet(ADA, eur("40"))

    assert refused.value.available == eur("40")
    assert await code_of(bank.ledger.withdraw_from_wallet(BOB, eur("0.01"))) == "insufficient-funds"
    assert await standing(bank) == ("0", "0", "0", "0")


@pytest.mark.parametrize("amount", ["0", "-1"])
async def test_amounts_must_be_more_than_zero(bank: Bank, amount: str) -> None:
    await filled(bank)
    money, hold = eur(amount), TransferId.new()

    refusals = [
        await code_of(bank.ledger.deposit_to_wallet(ADA, money)),
        await code_of(bank.ledger.withdraw_from_wallet(ADA, money)),
        await code_of(bank.ledger.hold_in_wallet(ADA, money, hold)),
        await code_of(bank.ledger.return_to_wallet(await collected(bank), money)),
    ]

    assert refusals == ["amount-not-positive"] * 4


async def collected(bank: Bank) -> TransferId:
    hold = await held(bank)
    await bank.ledger.collect(hold)
    return hold


# --- paying from it ------------------------------------------------------------------------------------------


async def test_what_is_held_for_the_market_is_not_available(bank: Bank) -> None:
    await filled(bank)

    hold = await held(bank)

    wallet = await bank.ledger.wallet(ADA)
    assert (wallet.balance, wallet.held, wallet.available) == (eur("100"), eur("40"), eur("60"))
    assert await code_of(bank.ledger.withdraw_from_wallet(ADA, eur("60.01"))) == "insufficient-funds"
    assert await code_of(bank.ledger.hold_in_wallet(ADA, eur("60.01"), TransferId.new())) == "insufficient-funds"
    assert (await bank.ledger.transfer_state(hold)).target == SALES


async def test_a_repeated_hold_changes_nothing(bank: Bank) -> None:
    await filled(bank)
    hold = TransferId.new()

    await asyncio.gather(*(bank.ledger.hold_in_wallet(ADA, eur("40"), hold) for _ in range(6)))
    await bank.ledger.hold_in_wallet(ADA, eur("60"), hold)

    assert await standing(bank) == ("10000", "4000", "0", "-10000")
    await bank.ledger.collect(hold)
    await bank.ledger.hold_in_wallet(ADA, eur("40"), hold)
    assert await standing(bank) == ("6000", "0", "4000", "-10000")


async def test_what_is_held_is_collected_once(bank: Bank) -> None:
    await filled(bank)
    hold = await held(bank)

    await asyncio.gather(*(bank.ledger.collect(hold) for _ in range(6)))
    await bank.ledger.collect(hold)

    assert await standing(bank) == ("6000", "0", "4000", "-10000")
    assert (await bank.ledger.transfer_state(hold)).status is TransferStatus.POSTED
    await requires_zero_sums(bank)


async def test_returning_what_is_held_voids_the_hold(bank: Bank) -> None:
    await filled(bank)
    hold = await held(bank)

    await bank.ledger.return_to_wallet(hold, eur("40"))

    assert await standing(bank) == ("10000", "0", "0", "-10000")
    assert (await bank.ledger.transfer_state(hold)).status is TransferStatus.VOIDED
    with pytest.raises(HoldResolved):
        await bank.ledger.collect(hold)
    assert await standing(bank) == ("10000", "0", "0", "-10000")


async def test_returning_what_was_collected_moves_the_money_back(bank: Bank) -> None:
    await filled(bank)
    hold = await collected(bank)

    await bank.ledger.return_to_wallet(hold, eur("15"))
    partly = await standing(bank)
    await bank.ledger.return_to_wallet(hold, eur("25"))

    assert partly == ("7500", "0", "2500", "-10000")
    assert await standing(bank) == ("10000", "0", "0", "-10000")
    await requires_zero_sums(bank)


async def test_returning_part_of_what_is_held_gives_the_rest_to_the_market(bank: Bank) -> None:
    await filled(bank)
    hold = await held(bank)

    await bank.ledger.return_to_wallet(hold, eur("15"))
    await bank.ledger.collect(hold)

    assert await standing(bank) == ("7500", "0", "2500", "-10000")


async def test_what_was_never_held_is_neither_collected_nor_returned(bank: Bank) -> None:
    await filled(bank)

    with pytest.raises(TransferNotFound):
        await bank.ledger.collect(TransferId.new())
    with pytest.raises(TransferNotFound):
        await bank.ledger.return_to_wallet(TransferId.new(), eur("1"))

    assert await standing(bank) == ("10000", "0", "0", "-10000")


@pytest.mark.parametrize("first", ["collected", "held"])
async def test_no_more_is_returned_than_was_held(bank: Bank, first: str) -> None:
    await filled(bank)
    hold = await (collected if first == "collected" else held)(bank)

    with pytest.raises(HoldExceeded) as over:
        await bank.ledger.return_to_wallet(hold, eur("40.01"))
    await bank.ledger.return_to_wallet(hold, eur("40"))
    again = await code_of(bank.ledger.return_to_wallet(hold, eur("40")))

    assert over.value.held == eur("40")
    assert again == ("hold-exceeded" if first == "collected" else "")  # a voided hold has nothing to return
    assert await standing(bank) == ("10000", "0", "0", "-10000")


async def test_what_is_returned_in_parts_is_counted(bank: Bank) -> None:
    await filled(bank)
    hold = await held(bank)

    await bank.ledger.return_to_wallet(hold, eur("15"))  # the market has the rest
    with pytest.raises(HoldExceeded) as over:
        await bank.ledger.return_to_wallet(hold, eur("25.01"))
    await bank.ledger.return_to_wallet(hold, eur("25"))

    assert over.value.held == eur("25")
    assert await code_of(bank.ledger.return_to_wallet(hold, eur("0.01"))) == "hold-exceeded"
    assert await standing(bank) == ("10000", "0", "0", "-10000")


async def test_a_command_with_a_key_has_one_effect_however_often_it_is_repeated(bank: Bank) -> None:
    await filled(bank)
    hold = await collected(bank)

    for _ in range(3):
        await bank.keyed("deposit", Ledger.deposit_to_wallet, owner=ADA, money=eur("5"))
        await bank.keyed("refund", Ledger.return_to_wallet, hold=hold, money=eur("15"))
        await bank.keyed("withdrawal", Ledger.withdraw_from_wallet, owner=ADA, money=eur("10"))

    assert await standing(bank) == ("7000", "0", "2500", "-9500")


@pytest.mark.parametrize("order", list(permutations(("hold", "collect", "return"))), ids="-".join)
async def test_commands_in_any_order_neither_lose_nor_create_money(bank: Bank, order: tuple[str, ...]) -> None:
    """A command that comes too early is refused and repeated; one that comes too late changes nothing."""
    await filled(bank)
    hold = TransferId.new()
    verbs: dict[str, Callable[[], Awaitable[Any]]] = {
        "hold": lambda: bank.ledger.hold_in_wallet(ADA, eur("40"), hold),
        "collect": lambda: bank.ledger.collect(hold),
        "return": lambda: bank.ledger.return_to_wallet(hold, eur("40")),
    }
    waiting = list(order)
    for _ in range(2):
        waiting = [verb for verb in waiting if await code_of(verbs[verb]()) == "transfer-not-found"]

    assert waiting == []
    assert await standing(bank) == ("10000", "0", "0", "-10000")
    await requires_zero_sums(bank)


async def test_many_holds_at_once_hold_no_more_than_the_wallet_has(bank: Bank) -> None:
    await filled(bank, "10")
    holds = [TransferId.new() for _ in range(40)]

    codes = await asyncio.gather(*(code_of(bank.ledger.hold_in_wallet(ADA, eur("1"), hold)) for hold in holds))

    assert (codes.count(""), codes.count("insufficient-funds")) == (10, 30)
    made = [hold for hold, code in zip(holds, codes, strict=True) if not code]
    await asyncio.gather(*(bank.ledger.collect(hold) for hold in made[:5]))
    await asyncio.gather(*(bank.ledger.return_to_wallet(hold, eur("1")) for hold in made))
    assert await standing(bank) == ("1000", "0", "0", "-1000")
    await requires_zero_sums(bank)


async def test_collecting_and_returning_at_once_leaves_the_money_in_one_place(bank: Bank) -> None:
    await filled(bank)
    for _ in range(10):
        hold = await held(bank, "1")
        await asyncio.gather(code_of(bank.ledger.collect(hold)), bank.ledger.return_to_wallet(hold, eur("1")))

    assert await standing(bank) == ("10000", "0", "0", "-10000")
    await requires_zero_sums(bank)


# --- over HTTP, and orders paid from it ------------------------------------------------------------------------


def money(amount: str, currency: str = "EUR") -> dict[str, str]:
    return {"amount": amount, "currency": currency}


async def rich(shop: Shop, name: str = "Ada", amount: str = "100.00") -> Person:
    owner = await shop.register(name)
    await shop.api(Ledger).deposit_to_wallet(Name(owner.id), eur(amount))
    await wallet_of(shop, owner, amount)
    return owner


async def wallet_of(shop: Shop, owner: Person, balance: str, held: str = "0.00") -> Any:
    return await shop.seen(
        owner, "/v2/wallet", lambda shown: (shown["balance"], shown["held"]) == (money(balance), money(held))
    )


async def test_users_see_and_empty_only_their_own_wallets(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, bob = await rich(shop), await shop.register("Bob")

    made = await ada.post("/v2/wallet/withdraw", {"money": money("30.00")}, {"Idempotency-Key": "w"})
    again = await ada.post("/v2/wallet/withdraw", {"money": money("30.00")}, {"Idempotency-Key": "w"})

    assert (made.status, made.body) == (again.status, again.body) == (201, made.body)
    assert made.headers["location"] == f"/v1/transfers/{made.json['id']}"
    assert (await ada.get("/v2/wallet", made.position)).json["balance"] == money("70.00")
    assert (await ada.get(made.headers["location"], made.position)).json["money"] == money("30.00")
    assert (await bob.get("/v2/wallet")).json["balance"] == money("0.00")
    assert (await ada.get("/v2/wallet?currency=JPY")).json["balance"] == money("0", "JPY")
    assert (await ada.get("/v2/wallet?currency=XXX")).status == 422
    for who, body, status, code in (
        (bob, {"money": money("1.00")}, 409, "insufficient-funds"),
        (bob, {"money": money("1.00"), "owner": ada.id}, 422, "invalid-value"),
        (ada, {"money": money("70.01")}, 409, "insufficient-funds"),
        (ada, {"money": money("0")}, 422, "amount-not-positive"),
        (ada, {"money": 1}, 422, "invalid-value"),
        (shop.nobody, {"money": money("1.00")}, 401, "unauthenticated"),
    ):
        refused = await who.post("/v2/wallet/withdraw", body)
        assert (body, refused.status, refused.code) == (body, status, code)
    assert (await shop.nobody.get("/v2/wallet")).status == 401


async def test_an_order_is_paid_from_the_wallet(shop: Shop) -> None:
    ada, product = await rich(shop), await shop.add_product("30.00", stock=5)

    order = await shop.order(ada, {product: 2}, "wallet")

    assert order["status"] == "confirmed"
    await wallet_of(shop, ada, "40.00")
    await ada.post(f"/v1/orders/{order['id']}/cancel", {"reason": "changed my mind"})
    await wallet_of(shop, ada, "100.00")
    sums = (await (await shop.admin()).get("/v1/trial-balance")).json["lines"]
    assert [line["difference"] for line in sums] == [money("0.00")]


async def test_an_order_that_the_wallet_cannot_pay_is_cancelled_and_holds_nothing(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, product = await rich(shop), await shop.add_product("30.00", stock=5)

    order = await shop.order(ada, {product: 4}, "wallet")

    assert order["status_display"] == "Cancelled (The payment has failed: insufficient-funds.)"
    await wallet_of(shop, ada, "100.00")
    await shop.seen(shop.nobody, f"/v1/products/{product}/stock", lambda stock: stock["available"] == 5)


async def test_orders_at_once_spend_no_more_than_the_wallet_has(shop: Shop) -> None:
    ada, product = await rich(shop), await shop.add_product("30.00", stock=10)

    orders = await asyncio.gather(*(shop.order(ada, {product: 1}, "wallet") for _ in range(6)))

    assert sorted(order["status"] for order in orders) == ["cancelled"] * 3 + ["confirmed"] * 3
    await wallet_of(shop, ada, "10.00")
    await shop.seen(shop.nobody, f"/v1/products/{product}/stock", lambda stock: stock["available"] == 7)


async def test_part_of_an_order_is_refunded_into_the_wallet(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, admin, product = await rich(shop), await shop.admin(), await shop.add_product("30.00", stock=5)
    order = await shop.order(ada, {product: 2}, "wallet")
    await wallet_of(shop, ada, "40.00")
    payment = (await ada.get(f"/v2/payments?order={order['id']}")).json["items"][0]["id"]

    for amount in ("10.00", "5.00"):
        assert (await admin.post(f"/v2/payments/{payment}/refunds", {"amount": money(amount)})).status == 202

    await wallet_of(shop, ada, "55.00")
    await admin.post(f"/v2/payments/{payment}/refunds")
    await wallet_of(shop, ada, "100.00")


async def test_money_is_returned_even_to_a_wallet_that_was_emptied(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, product = await rich(shop, amount="30.00"), await shop.add_product("30.00", stock=5)
    order = await shop.order(ada, {product: 1}, "wallet")
    wallet = await wallet_of(shop, ada, "0.00")
    for who in (ada, await shop.admin()):
        closed = await who.post(f"/v1/accounts/{wallet['id']}/close", {"reason": "I am done"})
        assert (closed.status, closed.code) == (409, "permanent-account")

    await ada.post(f"/v1/orders/{order['id']}/cancel", {"reason": "changed my mind"})

    path = f"/v2/payments?order={order['id']}"
    await shop.seen(ada, path, lambda page: page["items"][0]["status"] == "refunded", seconds=2)
    await wallet_of(shop, ada, "30.00")


async def test_a_card_called_wallet_is_a_card(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, product = await rich(shop), await shop.add_product("30.00", stock=5)

    order = await shop.order(ada, {product: 1}, "card", "wallet")

    (payment,) = (await ada.get(f"/v2/payments?order={order['id']}")).json["items"]
    assert (payment["means"], payment["method"], payment["status"]) == ("card", "wallet", "succeeded")
    await wallet_of(shop, ada, "100.00")


@pytest.mark.parametrize("verb", ["post", "void"])
async def test_only_the_order_resolves_what_is_held_for_it(shop_sqlite: Shop, verb: str) -> None:
    shop = shop_sqlite
    ada, admin = await rich(shop), await shop.admin()
    hold = TransferId.new()
    await shop.api(Ledger).hold_in_wallet(Name(ada.id), eur("40"), hold)

    refused = [await who.post(f"/v1/transfers/{hold}/{verb}") for who in (shop.nobody, ada, admin)]

    assert [(answer.status, answer.code) for answer in refused] == [
        (401, "unauthenticated"),
        (403, "access-denied"),
        (409, "hold-of-an-order"),
    ]
    await wallet_of(shop, ada, "100.00", "40.00")
    await shop.api(Ledger).collect(hold)
    await wallet_of(shop, ada, "60.00")


async def test_only_an_order_holds_money_for_the_market(bank: Bank) -> None:
    account = await bank.open("10")

    refusal = await code_of(bank.ledger.transfer(account, AccountId.sales(EUR), eur("4"), pending=True))

    assert refusal == "hold-of-an-order"
    assert (await bank.ledger.account(account)).available == eur("10")
