"""Payments over HTTP, the sandbox taking the money: orders, refunds, deposits, and who may see what."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from craton.application import Saga, WiringError
from craton.application.sagas import SagaDefinition
from craton.domain import Currency, Id, Money, Name, Text
from craton.testing import until
from market.inventory.api import Inventory
from market.ledger.api import Ledger
from market.payments.api import Payments
from market.payments.events import (
    ChargeAnnounced,
    Means,
    PaidAgain,
    PaidAgainReturned,
    PaymentFailed,
    PaymentId,
    PaymentProcessed,
    PaymentRefunded,
    PaymentRequested,
    RefundRequested,
    Standing,
)
from market.payments.sagas import CallOff, CardCharge, Refunding, WalletCharge
from tests.market.money import eur
from tests.market.refusals import code_of
from tests.market.shop import Person, Shop


def money(amount: str, currency: str = "EUR") -> dict[str, str]:
    return {"amount": amount, "currency": currency}


async def events(shop: Shop) -> list[Any]:
    """What payments have recorded."""
    running = shop.app.running["payments"]
    return [
        running.module.events.recorded(event).data
        async for event in running.source.stored()
        if "saga" not in event.stream
    ]


async def payment_of(shop: Shop, buyer: Person, order: str, *statuses: str) -> Any:
    """The payment of an order, once it has one of these statuses."""
    path = f"/v2/payments/{PaymentId.derived(order)}"
    return await shop.seen(buyer, path, lambda shown: not statuses or shown["status"] in statuses)


async def wallet(shop: Shop, owner: Person, balance: str) -> Any:
    """A wallet, once it has this balance."""
    return await shop.seen(owner, "/v2/wallet", lambda shown: shown["balance"] == money(balance))


async def paid_order(shop: Shop, buyer: Person, price: str = "10.00") -> str:
    product = await shop.add_product(price, stock=1)
    order = await shop.order(buyer, {product: 1}, method="pm_card_visa")
    assert order["status"] == "confirmed"
    return str(order["id"])


# --- paying for an order -------------------------------------------------------------------------------------


async def test_a_card_pays_for_an_order(shop: Shop) -> None:
    ada = await shop.register("Ada")

    order = await paid_order(shop, ada, "89.00")

    shown = await payment_of(shop, ada, order)
    assert {name: shown[name] for name in shown if name not in ("created_at", "version")} == {
        "id": PaymentId.derived(order),
        "order": order,
        "payer": ada.id,
        "amount": money("89.00"),
        "refunded": money("0.00"),
        "status": "succeeded",
        "reason": "",
        "purpose": "order",
        "means": "card",
        "method": "pm_card_visa",
        "disputed": False,
    }
    assert (await ada.get(f"/v2/payments?order={order}")).json["items"] == [shown]


@pytest.mark.parametrize(
    ("method", "reason"), [("pm_card_declined", "card_declined"), ("pm_card_insufficient_funds", "insufficient_funds")]
)
async def test_a_declined_card_cancels_the_order(shop_sqlite: Shop, method: str, reason: str) -> None:
    shop = shop_sqlite
    ada, product = await shop.register("Ada"), await shop.add_product(stock=1)

    order = await shop.order(ada, {product: 1}, method=method)

    assert order["status_display"] == f"Cancelled (The payment has failed: {reason}.)"
    shown = await payment_of(shop, ada, order["id"])
    assert (shown["status"], shown["reason"], shown["refunded"]) == ("failed", reason, money("0.00"))
    await shop.seen(shop.nobody, f"/v1/products/{product}/stock", lambda stock: stock["available"] == 1)


async def test_a_payment_that_is_never_answered_is_given_up_and_costs_nothing(tmp_path: Path) -> None:
    async with Shop("sqlite", tmp_path, settings={"CRATON_PAYMENTS_PATIENCE": "1"}) as shop:
        ada, product = await shop.register("Ada"), await shop.add_product(stock=2)

        orders = await asyncio.gather(
            shop.order(ada, {product: 1}, method="pm_card_unreachable"),
            shop.order(ada, {product: 1}, method="pm_card_authentication"),
        )

        for order in orders:
            assert order["status_display"] == "Cancelled (The payment has failed: timed out.)"
            shown = await payment_of(shop, ada, order["id"])
            assert (shown["status"], shown["reason"]) == ("failed", "timed out")
        await shop.seen(shop.nobody, f"/v1/products/{product}/stock", lambda stock: stock["available"] == 2)
        recorded = await events(shop)
        assert not [fact for fact in recorded if isinstance(fact, PaymentProcessed | RefundRequested)]


async def test_after_a_lost_answer_the_gateway_is_asked_and_takes_the_money_once(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, product = await shop.register("Ada"), await shop.add_product(stock=1)

    order = await shop.order(ada, {product: 1}, method="pm_card_timeout")

    assert order["status"] == "confirmed"
    assert len([fact for fact in await events(shop) if isinstance(fact, PaymentProcessed)]) == 1


@pytest.mark.parametrize("pay_with", ["card", "wallet"])
async def test_an_order_over_the_limit_is_refused_and_one_at_the_limit_paid(shop_sqlite: Shop, pay_with: str) -> None:
    shop = shop_sqlite
    ada = await shop.register("Ada")
    for currency, limit, over in (
        ("EUR", "10000.00", "10000.01"),
        ("JPY", "1000000", "1000001"),
        ("KWD", "10000.000", "10000.001"),
    ):
        product = await shop.add_product(limit, stock=1, currency=currency)
        assert (await shop.order(ada, {product: 1}))["status"] == "confirmed"
        dear = await shop.add_product(over, stock=1, currency=currency)
        lines = [{"product_id": dear, "quantity": 1}]
        refused = await ada.post("/v1/orders", {"lines": lines, "pay_with": pay_with, "payment_method": "pm_card_visa"})
        assert (refused.status, refused.code) == (422, "order-over-limit")
        assert refused.json["details"]["limit"] == {"amount": limit, "currency": currency}


async def test_a_deposit_over_the_limit_is_refused(shop_sqlite: Shop) -> None:
    ada = await shop_sqlite.register("Ada")

    refused = await ada.post("/v2/wallet/deposit", {"money": money("10000.01"), "payment_method": "pm_card_visa"})

    assert (refused.status, refused.code) == (422, "amount-over-limit")


async def test_the_limits_are_a_setting_by_currency(tmp_path: Path) -> None:
    async with Shop("sqlite", tmp_path, settings={"CRATON_PAYMENTS_LIMITS": "EUR=50, JPY=6000"}) as shop:
        limits = [await shop.api(Payments).limit(Currency(currency)) for currency in ("EUR", "JPY", "USD")]

    assert [str(limit) for limit in limits] == ["50.00 EUR", "6000 JPY", "10000.00 USD"]


@pytest.mark.parametrize("text", ["EUR", "EUR=", "EUR=x", "XXX=5", "eur=5", "EUR=1.234", "EUR=5;USD=6"])
async def test_invalid_limits_are_refused_at_the_start(tmp_path: Path, text: str) -> None:
    with pytest.raises(WiringError, match="CRATON_PAYMENTS_LIMITS can't be used"):
        async with Shop("sqlite", tmp_path, settings={"CRATON_PAYMENTS_LIMITS": text}):
            """It has started."""


async def test_a_deposit_that_the_wallet_does_not_take_goes_back_to_the_card(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada = await shop.register("Ada")
    brim = "90000000000000.00"
    await shop.api(Ledger).deposit_to_wallet(Name(ada.id), Money.of(brim, "EUR"))

    made = await ada.post("/v2/wallet/deposit", {"money": money("5.00"), "payment_method": "pm_card_visa"})

    refunded = await shop.seen(ada, made.headers["location"], lambda payment: payment["status"] == "refunded")
    assert refunded["refunded"] == money("5.00")
    await wallet(shop, ada, brim)
    assert await shop.app.running["payments"].store.parked() == []


# --- in the browser ------------------------------------------------------------------------------------------


async def test_without_a_card_the_buyer_pays_in_the_browser(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, product = await shop.register("Ada"), await shop.add_product("89.00", stock=1)
    order = await shop.place(ada, {product: 1}, method="")
    await payment_of(shop, ada, order)

    started = [await ada.post("/v2/payments", {"order": order}) for _ in range(2)]

    assert [answer.status for answer in started] == [201, 201]
    assert started[0].json == started[1].json
    id = started[0].json["id"]
    assert started[0].headers["location"] == f"/v2/payments/{id}"
    assert (started[0].json["status"], started[0].json["amount"]) == ("requires_action", money("89.00"))
    assert len(started[0].json["client_secret"]) > 10
    await shop.api(Payments).settle(PaymentId(id), Standing.SUCCEEDED, "ref", Text(""))
    assert (await shop.decided(ada, order))["status"] == "confirmed"
    assert "client_secret" not in (await ada.get(f"/v2/payments/{id}")).json


async def test_the_price_is_the_servers(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, product = await shop.register("Ada"), await shop.add_product("89.00", stock=1)
    order = await shop.place(ada, {product: 1}, method="")
    await payment_of(shop, ada, order)

    wrong = await ada.post("/v2/payments", {"order": order, "amount": money("0.01")})
    other = await ada.post("/v2/payments", {"order": order, "amount": money("89.00", "USD")})
    right = await ada.post("/v2/payments", {"order": order, "amount": money("89.00")})

    assert (wrong.status, wrong.code, wrong.json["details"]) == (409, "wrong-amount", {"total": money("89.00")})
    assert (other.status, other.code) == (409, "wrong-amount")
    assert right.json["amount"] == money("89.00")
    for body in ({}, {"order": "x"}, {"order": order, "payer": ada.id}, {"order": order, "amount": 89.0}):
        assert (await ada.post("/v2/payments", body)).status == 422
    assert (await ada.post("/v2/payments", {"order": Id.new()})).code == "not-paid-in-browser"


async def test_a_client_secret_is_not_kept_though_the_request_has_a_key(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, product = await shop.register("Ada"), await shop.add_product("89.00", stock=1)
    order = await shop.place(ada, {product: 1}, method="")
    await payment_of(shop, ada, order)

    started = [await ada.post("/v2/payments", {"order": order}, {"Idempotency-Key": "p1"}) for _ in range(3)]
    anew = await ada.post("/v2/payments", {"order": order}, {"Idempotency-Key": "p2"})

    assert [answer.status for answer in (*started, anew)] == [201, 409, 409, 201]
    assert started[1].code == "answer-not-kept"
    secret = started[0].json["client_secret"]
    assert anew.json["client_secret"] == secret
    facts = [fact for fact in await events(shop) if isinstance(fact, ChargeAnnounced)]
    reference = f"sandbox_{PaymentId.derived(order)}"
    assert facts == [ChargeAnnounced(reference=reference, order=Id(order))]
    await shop.restart()  # so that all is in the files
    files = [file for file in shop.folder.rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if secret.encode() in file.read_bytes()]


async def test_the_hosted_page_is_where_the_payer_is_sent(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, product = await shop.register("Ada"), await shop.add_product("89.00", stock=1)
    order = await shop.place(ada, {product: 1}, method="")
    await payment_of(shop, ada, order)

    sent = await ada.post("/v2/checkout-sessions", {"order": order})

    assert sent.status == 303
    assert sent.headers["location"] == f"https://sandbox.invalid/pay/{PaymentId.derived(order)}"
    assert (await payment_of(shop, ada, order))["status"] == "requires_action"


async def test_a_script_that_cannot_be_sent_to_another_site_is_told_where_the_hosted_page_is(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, product = await shop.register("Ada"), await shop.add_product("89.00", stock=1)
    order = await shop.place(ada, {product: 1}, method="")
    await payment_of(shop, ada, order)

    told = await ada.post("/v2/checkout-sessions", {"order": order}, {"Accept": "application/json"})

    assert (told.status, told.json["url"]) == (201, told.headers["location"])


async def test_a_payment_that_has_ended_is_not_paid_again(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, product = await shop.register("Ada"), await shop.add_product(stock=1)
    done = await shop.order(ada, {product: 1})
    await shop.add_product(id="other", stock=2)
    failed = await shop.order(ada, {"other": 1}, method="pm_card_declined")
    cancelled = await shop.place(ada, {"other": 1}, method="")
    await payment_of(shop, ada, cancelled)
    await ada.post(f"/v1/orders/{cancelled}/cancel", {"reason": "changed my mind"})
    await payment_of(shop, ada, cancelled, "failed")

    for path in ("/v2/payments", "/v2/checkout-sessions"):
        for order in (done["id"], failed["id"]):  # for these a card was named
            refused = await ada.post(path, {"order": order})
            assert (path, refused.status, refused.code) == (path, 409, "not-paid-in-browser")
        over = await ada.post(path, {"order": cancelled})
        assert (over.status, over.code, over.json["details"]) == (409, "payment-over", {"status": "failed"})


async def test_an_order_has_one_payment_however_often_it_is_requested(shop_sqlite: Shop) -> None:
    payments, order, payer = shop_sqlite.api(Payments), Id.new(), Id.new()

    async def ask() -> PaymentId:
        return await payments.request(order, payer, eur("10.00"), Means.CARD)

    first = await ask()
    again = [await ask()]
    await payments.settle(first, Standing.SUCCEEDED, "ref", Text(""))
    again.append(await ask())
    await payments.take_back(order)

    async def returned() -> bool:
        return any(isinstance(fact, PaymentRefunded) for fact in await events(shop_sqlite))

    await until(returned)
    again.append(await ask())

    assert again == [first] * 3
    assert len([fact for fact in await events(shop_sqlite) if isinstance(fact, PaymentRequested)]) == 1


async def test_a_cancelled_order_cannot_be_paid(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, product = await shop.register("Ada"), await shop.add_product(stock=1)
    order = await shop.order(ada, {product: 2})  # which there aren't
    assert order["status"] == "cancelled"

    answers = [await ada.post(path, {"order": order["id"]}) for path in ("/v2/payments", "/v2/checkout-sessions")]

    assert [answer.status for answer in answers] == [409, 409]
    assert (await ada.get(f"/v2/payments?order={order['id']}")).json["total"] == 0


async def test_an_order_that_was_paid_twice_gives_one_payment_back(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, product = await shop.register("Ada"), await shop.add_product(stock=1)
    order = await shop.place(ada, {product: 1}, method="")
    payments, id = shop.api(Payments), PaymentId.derived(order)
    await payment_of(shop, ada, order)
    await ada.post("/v2/payments", {"order": order})
    await ada.post("/v2/checkout-sessions", {"order": order})  # at Stripe's this is another charge

    for reference in ("pi_of_the_browser", "pi_of_the_page", "pi_of_the_page", "pi_of_the_browser"):
        await payments.settle(id, Standing.SUCCEEDED, reference, Text(""))

    async def returned() -> bool:
        return any(isinstance(fact, PaidAgainReturned) for fact in await events(shop))

    await until(returned)
    recorded = await events(shop)
    assert [fact.reference for fact in recorded if isinstance(fact, PaidAgain)] == ["pi_of_the_page"]
    assert [fact.amount for fact in recorded if isinstance(fact, PaidAgainReturned)] == [eur("10.00")]
    assert not [fact for fact in recorded if isinstance(fact, RefundRequested)]
    shown = await payment_of(shop, ada, order)
    assert (shown["status"], shown["refunded"]) == ("succeeded", money("0.00"))
    assert (await shop.decided(ada, order))["status"] == "confirmed"


# --- late, and called off ------------------------------------------------------------------------------------


async def test_money_that_comes_when_the_order_is_cancelled_goes_back_once(shop: Shop) -> None:
    ada, product = await shop.register("Ada"), await shop.add_product(stock=1)
    order = await shop.place(ada, {product: 1}, method="")
    payments, id = shop.api(Payments), PaymentId.derived(order)
    await payment_of(shop, ada, order)
    await ada.post(f"/v1/orders/{order}/cancel", {"reason": "changed my mind"})
    await payment_of(shop, ada, order, "failed")

    await asyncio.gather(*(payments.settle(id, Standing.SUCCEEDED, "ref", Text("")) for _ in range(5)))

    shown = await payment_of(shop, ada, order, "refunded")
    assert shown["refunded"] == money("10.00")
    assert len([fact for fact in await events(shop) if isinstance(fact, RefundRequested)]) == 1
    assert (await ada.get(f"/v1/orders/{order}")).json["status_display"] == "Cancelled (changed my mind)"


async def test_a_cancelled_order_is_refunded(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada = await shop.register("Ada")
    order = await paid_order(shop, ada)

    await ada.post(f"/v1/orders/{order}/cancel", {"reason": "changed my mind"})

    assert (await payment_of(shop, ada, order, "refunded"))["refunded"] == money("10.00")
    await shop.api(Payments).take_back(Id(order))
    await shop.api(Payments).take_back(Id.new())  # there never was one
    assert len([fact for fact in await events(shop) if isinstance(fact, RefundRequested)]) == 1


# --- refunds -------------------------------------------------------------------------------------------------


async def test_an_administrator_gives_back_part_of_it_and_then_the_rest(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, admin = await shop.register("Ada"), await shop.admin()
    order = await paid_order(shop, ada)
    refunds = f"/v2/payments/{PaymentId.derived(order)}/refunds"

    partly = [await admin.post(refunds, {"amount": money("4.00")}, {"Idempotency-Key": "r1"}) for _ in range(2)]
    shown = await payment_of(shop, ada, order, "partially_refunded")
    too_much = await admin.post(refunds, {"amount": money("6.01")})
    rest = await admin.post(refunds)
    done = await payment_of(shop, ada, order, "refunded")
    nothing = await admin.post(refunds, {"amount": money("0.01")})

    assert [answer.status for answer in (*partly, rest)] == [202] * 3
    assert partly[0].json == partly[1].json
    assert (shown["refunded"], done["refunded"]) == (money("4.00"), money("10.00"))
    assert (too_much.status, too_much.code, too_much.json["details"]) == (
        409,
        "refund-exceeded",
        {"refundable": money("6.00")},
    )
    assert (nothing.status, nothing.code) == (409, "nothing-to-refund")
    assert (await ada.get(f"/v1/orders/{order}")).json["status"] == "confirmed"


async def test_an_invalid_amount_is_not_refunded(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, admin = await shop.register("Ada"), await shop.admin()
    order = await paid_order(shop, ada)
    refunds = f"/v2/payments/{PaymentId.derived(order)}/refunds"

    for wrong, code in (
        (money("0"), "amount-not-positive"),
        (money("-1"), "amount-not-positive"),
        (money("1", "USD"), "currency-mismatch"),
        (money("0.001"), "invalid-value"),
        ("1.00", "invalid-value"),
        (1, "invalid-value"),
    ):
        refused = await admin.post(refunds, {"amount": wrong})
        assert (wrong, refused.status, refused.code) == (wrong, 422, code)
    assert (await admin.post(f"/v2/payments/{Id.new()}/refunds")).code == "payment-not-found"
    assert (await admin.post("/v2/payments/x/refunds")).status == 422


async def test_of_many_refunds_at_once_no_more_goes_back_than_was_paid(shop: Shop) -> None:
    ada, admin = await shop.register("Ada"), await shop.admin()
    order = await paid_order(shop, ada)
    refunds = f"/v2/payments/{PaymentId.derived(order)}/refunds"

    answers = await asyncio.gather(*(admin.post(refunds, {"amount": money("3.00")}) for _ in range(8)))

    assert Counter(answer.status for answer in answers) == {202: 3, 409: 5}

    async def all_back() -> bool:
        return bool((await ada.get(f"/v2/payments?order={order}")).json["items"][0]["refunded"] == money("9.00"))

    await until(all_back)


# --- deposits ------------------------------------------------------------------------------------------------


async def test_a_deposit_is_in_the_wallet_once(shop: Shop) -> None:
    ada = await shop.register("Ada")
    deposit = {"money": money("25.00"), "payment_method": "pm_card_visa"}

    answers = [await ada.post("/v2/wallet/deposit", deposit, {"Idempotency-Key": "d1"}) for _ in range(3)]

    assert [answer.status for answer in answers] == [202] * 3
    assert len({answer.body for answer in answers}) == 1
    shown = await wallet(shop, ada, "25.00")
    assert (shown["owner"], shown["transaction_count"]) == (ada.id, 1)
    payment = (await ada.get(answers[0].headers["location"])).json
    assert (payment["purpose"], payment["status"], payment["amount"]) == ("deposit", "succeeded", money("25.00"))
    second = await ada.post("/v2/wallet/deposit", {**deposit, "payment_method": "pm_card_timeout"})
    assert second.json != answers[0].json
    assert (await wallet(shop, ada, "50.00"))["transaction_count"] == 2


async def test_a_deposit_that_the_card_does_not_pay_is_not_in_the_wallet(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada = await shop.register("Ada")

    async def deposit(amount: Any, method: str = "pm_card_visa") -> Any:
        return await ada.post("/v2/wallet/deposit", {"money": amount, "payment_method": method})

    declined = await deposit(money("25.00"), "pm_card_declined")
    await shop.seen(ada, declined.headers["location"], lambda payment: payment["status"] == "failed")
    for amount, method, code in (
        (money("0"), "pm_card_visa", "amount-not-positive"),
        (money("-5.00"), "pm_card_visa", "amount-not-positive"),
        (money("10000.01"), "pm_card_visa", "amount-over-limit"),
        (25, "pm_card_visa", "invalid-value"),
        (money("25.00"), "", "card-missing"),
    ):
        refused = await deposit(amount, method)
        assert (amount, refused.status, refused.code) == (amount, 422, code)
    assert (await shop.nobody.post("/v2/wallet/deposit", {"money": money("1"), "payment_method": "x"})).status == 401
    for accepted in (money("10000.00"), money("10000", "JPY")):
        assert (await deposit(accepted)).status == 202
    await wallet(shop, ada, "10000.00")
    await shop.seen(ada, "/v2/wallet?currency=JPY", lambda shown: shown["balance"] == money("10000", "JPY"))


async def test_a_deposit_is_not_refunded(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, admin = await shop.register("Ada"), await shop.admin()
    made = await ada.post("/v2/wallet/deposit", {"money": money("25.00"), "payment_method": "pm_card_visa"})
    await wallet(shop, ada, "25.00")

    refused = await admin.post(f"{made.headers['location']}/refunds")

    assert (refused.status, refused.code) == (409, "deposit-not-refundable")


async def test_a_deposit_that_comes_late_goes_back_to_the_card_and_not_into_the_wallet(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, payments = await shop.register("Ada"), shop.api(Payments)
    id = await payments.deposit(Id(ada.id), eur("25.00"), Name("pm_card_declined"))
    await shop.seen(ada, f"/v2/payments/{id}", lambda payment: payment["status"] == "failed")

    await payments.settle(id, Standing.SUCCEEDED, "ref", Text(""))

    shown = await shop.seen(ada, f"/v2/payments/{id}", lambda payment: payment["status"] == "refunded")
    assert shown["refunded"] == money("25.00")
    assert (await ada.get("/v2/wallet")).json["transaction_count"] == 0


# --- who may ---------------------------------------------------------------------------------------------------


async def test_users_see_and_pay_their_own_payments_and_administrators_all(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, bob, admin = await shop.register("Ada"), await shop.register("Bob"), await shop.admin()
    order = await paid_order(shop, ada)
    open_order = await shop.place(ada, {await shop.add_product(stock=1): 1}, method="")
    await payment_of(shop, ada, open_order)
    path = f"/v2/payments/{PaymentId.derived(order)}"

    assert [(await who.get(path)).status for who in (ada, admin, bob, shop.nobody)] == [200, 200, 403, 401]
    assert (await bob.get(path)).code == "access-denied"
    assert (await ada.get(f"/v2/payments/{Id.new()}")).code == "payment-not-found"
    assert (await ada.get("/v2/payments/x")).status == 422
    for paying in ("/v2/payments", "/v2/checkout-sessions"):
        body = {"order": open_order}
        statuses = [(await who.post(paying, body)).status for who in (bob, shop.nobody)]
        assert (paying, statuses) == (paying, [403, 401])
    assert [(await who.post(f"{path}/refunds")).status for who in (ada, bob, shop.nobody)] == [403, 403, 401]

    async def listed(who: Person, query: str = "") -> tuple[int, list[str]]:
        answer = await who.get(f"/v2/payments{query}")
        return answer.status, [item["order"] for item in answer.json.get("items", [])]

    both = [open_order, order]  # newest first
    assert await listed(ada) == await listed(admin) == await listed(admin, f"?payer={ada.id}") == (200, both)
    assert await listed(ada, f"?payer={ada.id}&page_size=1&page=2") == (200, [order])
    assert await listed(bob) == await listed(bob, f"?order={order}") == (200, [])
    assert await listed(bob, f"?payer={ada.id}") == (403, [])
    assert await listed(shop.nobody) == (401, [])


# --- webhooks, where nobody sends any --------------------------------------------------------------------------


async def test_the_sandbox_refuses_every_webhook_because_it_sends_none(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    told = await shop.nobody.post("/v2/stripe/webhooks", {"id": "evt_1"}, {"Stripe-Signature": "t=1,v1=00"})

    assert (told.status, told.code) == (422, "bad-signature")


async def test_a_declined_payment_leaves_nothing_reserved_and_is_told_once(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, product = await shop.register("Ada"), await shop.add_product(stock=1)

    order = await shop.order(ada, {product: 1}, method="pm_card_declined")

    assert len([fact for fact in await events(shop) if isinstance(fact, PaymentFailed)]) == 1

    async def released() -> bool:
        return await shop.api(Inventory).reservation(Id(order["id"])) == "released"

    await until(released)
    request = shop.api(Payments).request(Id(order["id"]), Id(ada.id), eur("1"), Means.CARD)
    assert await code_of(request) == "payment-over"
    assert (await payment_of(shop, ada, order["id"]))["status"] == "failed"


async def test_a_payment_that_is_cancelled_in_advance_is_never_made(shop_sqlite: Shop) -> None:
    payments, order = shop_sqlite.api(Payments), Id.new()

    for _ in range(2):
        await payments.take_back(order)

    for means in Means:
        assert await code_of(payments.request(order, Id.new(), eur("1"), means)) == "payment-over"
    assert [type(fact).__name__ for fact in await events(shop_sqlite)] == ["PaymentCancelledInAdvance"]
    admin, path = await shop_sqlite.admin(), f"/v2/payments/{PaymentId.derived(order)}"
    refund, shown = await admin.post(f"{path}/refunds"), await admin.get(path)
    assert (refund.status in (404, 409), shown.code) == (True, "payment-not-found")


async def test_an_operator_cannot_compensate_a_charge_whose_result_is_unknown(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, product, admin = await shop.register("Ada"), await shop.add_product(stock=1), await shop.admin()
    order = await shop.place(ada, {product: 1}, "card", "pm_card_unreachable")
    charge = f"/v1/sagas/{PaymentId.derived(order)}"
    await shop.seen(admin, charge, lambda saga: saga["steps"][1]["attempts"] > 0)

    answer = await admin.post(f"{charge}/compensate", {"reason": "it takes too long"})

    assert (answer.status, answer.code) == (409, "past-pivot")
    assert (await admin.get(charge)).json["status"] == "running"


@pytest.mark.parametrize("saga", [CardCharge, WalletCharge, CallOff, Refunding])
def test_a_process_that_moves_money_outside_goes_on_until_its_result_is_known(saga: type[Saga]) -> None:
    definition = SagaDefinition(saga)

    assert all(map(definition.past_pivot, definition.order))
