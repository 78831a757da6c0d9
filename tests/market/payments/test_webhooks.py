"""The whole market with Stripe: what its webhooks say, and what orders cost and get back at localstripe."""

import asyncio
import hashlib
import hmac
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from craton.application import WiringError
from craton.domain import Money
from craton.testing import until
from market.payments.api import Payments
from market.payments.events import (
    NoticeReceived,
    PaidAgainReturned,
    PaymentDisputed,
    PaymentId,
    PaymentProcessed,
    RefundFailed,
    RefundId,
    RefundMadeElsewhere,
    RefundRequested,
)
from tests.http.client import Response
from tests.market.payments.stripe_server import KEY, SECRET, Server
from tests.market.shop import Person, Shop

# stripe's own client hands httpx a form in a way that httpx has deprecated
pytestmark = pytest.mark.filterwarnings(
    "ignore:Use 'content=<...>' to upload raw bytes/text content.:DeprecationWarning"
)


@asynccontextmanager
async def shop_at(stripe: str, folder: Path, url: str = "sqlite", **settings: str) -> AsyncIterator[Shop]:
    """The market with Stripe, which is at `stripe`."""
    shop = Shop(
        url,
        folder,
        settings={
            "CRATON_PAYMENTS_STRIPE_API_KEY": KEY,
            "CRATON_PAYMENTS_STRIPE_WEBHOOK_SECRET": SECRET,
            "CRATON_PAYMENTS_STRIPE_URL": stripe,
            **settings,
        },
    )
    try:
        async with shop:
            yield shop
    finally:
        await shop.drop()


@pytest.fixture
async def shop(localstripe: str, store_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    """The market with localstripe, on each store."""
    async with shop_at(localstripe, tmp_path, store_url) as shop:
        yield shop


@pytest.fixture
async def shop_sqlite(localstripe: str, tmp_path: Path) -> AsyncIterator[Shop]:
    """The market with localstripe, for what has nothing to do with stores."""
    async with shop_at(localstripe, tmp_path) as shop:
        yield shop


@pytest.fixture
async def deaf_shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """The market when Stripe can't be reached: all it knows comes by webhooks."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with shop_at(f"http://127.0.0.1:{closed.getsockname()[1]}", tmp_path) as shop:
            yield shop


def event(id: str, type_: str, payment: str | None, /, **about: Any) -> bytes:
    metadata = {} if payment is None else {"payment": payment}
    thing = {"id": "pi_1", "object": "payment_intent", "metadata": metadata, **about}
    return json.dumps({"id": id, "object": "event", "type": type_, "data": {"object": thing}}).encode()


async def tell(shop: Shop, body: bytes, *, key: str = SECRET, age: int = 0, of: bytes | None = None) -> Response:
    """Tell the market what Stripe would tell it."""
    at = str(int(time.time()) - age)
    signature = hmac.new(key.encode(), at.encode() + b"." + (of or body), hashlib.sha256).hexdigest()
    return await shop.nobody.post("/v2/stripe/webhooks", body, {"Stripe-Signature": f"t={at},v1={signature}"})


async def recorded(shop: Shop, kind: type[Any]) -> list[Any]:
    running = shop.app.running["payments"]
    facts = [running.module.events.recorded(stored).data async for stored in running.source.stored()]
    return [fact for fact in facts if isinstance(fact, kind)]


async def status(shop: Shop, buyer: Person, order: str, *wanted: str) -> Any:
    path = f"/v2/payments/{PaymentId.derived(order)}"
    return await shop.seen(buyer, path, lambda payment: payment["status"] in wanted)


async def open_order(shop: Shop, buyer: Person, method: str = "") -> tuple[str, str]:
    """An order that waits for its payment, and the payment's id."""
    product = await shop.add_product("12.34", stock=1)
    order = await shop.place(buyer, {product: 1}, method=method)
    return order, (await status(shop, buyer, order, "requires_action", "processing"))["id"]


# --- at localstripe ------------------------------------------------------------------------------------------


async def test_an_order_is_paid_by_stripe_and_refunded_when_it_is_cancelled(shop: Shop, server: Server) -> None:
    ada, product = await shop.register("Ada"), await shop.add_product("12.34", stock=1)

    order = await shop.order(ada, {product: 1}, method="pm_card_visa")

    assert order["status"] == "confirmed"
    (intent,) = await server.intents(order["id"])
    assert intent["metadata"] == {"payment": PaymentId.derived(order["id"]), "order": order["id"]}
    (charge,) = await server.charges(intent["id"])
    assert (charge["amount"], charge["currency"], charge["status"]) == (1234, "eur", "succeeded")

    await ada.post(f"/v1/orders/{order['id']}/cancel", {"reason": "too late"})
    payment = await status(shop, ada, order["id"], "refunded")

    assert payment["refunded"] == {"amount": "12.34", "currency": "EUR"}
    (refund,) = await server.refunds(intent["id"])
    assert (refund["amount"], refund["status"]) == (1234, "succeeded")


async def test_a_card_that_stripe_declines_cancels_the_order(shop_sqlite: Shop, server: Server) -> None:
    shop = shop_sqlite
    ada, product = await shop.register("Ada"), await shop.add_product("12.34", stock=1)

    order = await shop.order(ada, {product: 1}, method="pm_card_chargeCustomerFail")

    assert order["status_display"] == "Cancelled (The payment has failed: card_declined.)"
    (intent,) = await server.intents(order["id"])
    assert [charge["status"] for charge in await server.charges(intent["id"])] == ["failed"]
    assert await server.refunds(intent["id"]) == []


async def test_a_card_that_stripe_does_not_know_cancels_the_order(shop_sqlite: Shop, server: Server) -> None:
    shop = shop_sqlite
    ada, product = await shop.register("Ada"), await shop.add_product("12.34", stock=1)

    order = await shop.order(ada, {product: 1}, method="pm_nobodys")

    assert order["status"] == "cancelled"
    assert (await status(shop, ada, order["id"], "failed"))["reason"] in ("unknown", "resource_missing")
    (intent,) = await server.intents(order["id"])
    assert await server.charges(intent["id"]) == []


async def test_parts_of_it_are_refunded_at_stripe_too(shop_sqlite: Shop, server: Server) -> None:
    shop = shop_sqlite
    ada, admin = await shop.register("Ada"), await shop.admin()
    product = await shop.add_product("12.34", stock=1)
    order = await shop.order(ada, {product: 1}, method="pm_card_visa")
    refunds = f"/v2/payments/{PaymentId.derived(order['id'])}/refunds"

    for amount in ("4.00", "5.00"):
        assert (await admin.post(refunds, {"amount": {"amount": amount, "currency": "EUR"}})).status == 202
    assert (await admin.post(refunds)).status == 202

    await status(shop, ada, order["id"], "refunded")
    (intent,) = await server.intents(order["id"])
    assert sorted(refund["amount"] for refund in await server.refunds(intent["id"])) == [334, 400, 500]


async def test_a_deposit_by_stripe_is_in_the_wallet(localstripe: str, server: Server, tmp_path: Path) -> None:
    async with shop_at(localstripe, tmp_path) as shop:
        ada = await shop.register("Ada")
        deposit = {"money": {"amount": "25.00", "currency": "EUR"}, "payment_method": "pm_card_visa"}

        made = [await ada.post("/v2/wallet/deposit", deposit, {"Idempotency-Key": "d"}) for _ in range(2)]

        await shop.seen(ada, "/v2/wallet", lambda wallet: wallet["balance"] == deposit["money"])
        (intent,) = await server.intents(made[0].json["id"])
        assert len(await server.charges(intent["id"])) == 1


async def test_a_payment_in_the_browser_is_reported_by_webhook(
    localstripe: str, server: Server, tmp_path: Path
) -> None:
    async with shop_at(localstripe, tmp_path) as shop:
        ada = await shop.register("Ada")
        order, _ = await open_order(shop, ada)
        started = (await ada.post("/v2/payments", {"order": order})).json
        (intent,) = [one for one in await server.intents(order) if one["client_secret"] == started["client_secret"]]
        assert await server.charges(intent["id"]) == []
        url = f"http://{shop.client.host}:{shop.client.port}/v2/stripe/webhooks"
        await server.post("/_config/webhooks/market", {"url": url, "secret": SECRET})

        # what the browser does with the client secret
        await server.post(f"/v1/payment_intents/{intent['id']}", {"payment_method": "pm_card_visa"})
        await server.post(f"/v1/payment_intents/{intent['id']}/confirm", {})

        assert (await shop.decided(ada, order))["status"] == "confirmed"
        await ada.post(f"/v1/orders/{order}/cancel", {"reason": "too late"})
        await status(shop, ada, order, "refunded")
        assert [refund["amount"] for refund in await server.refunds(intent["id"])] == [1234]


async def test_an_order_that_stripe_never_answers_for_is_cancelled(tmp_path: Path) -> None:
    async with await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0) as silent:
        url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        async with shop_at(url, tmp_path, CRATON_PAYMENTS_PATIENCE="1") as shop:
            ada, product = await shop.register("Ada"), await shop.add_product("12.34", stock=1)

            order = await shop.order(ada, {product: 1}, method="pm_card_visa")

            assert order["status_display"] == "Cancelled (The payment has failed: timed out.)"
            await shop.seen(shop.nobody, f"/v1/products/{product}/stock", lambda stock: stock["available"] == 1)


# --- what webhooks say ---------------------------------------------------------------------------------------


async def test_success_may_be_reported_before_our_own_charge_knows_it(deaf_shop: Shop) -> None:
    shop = deaf_shop
    ada = await shop.register("Ada")
    order, payment = await open_order(shop, ada, "pm_card_visa")

    told = await tell(shop, event("evt_1", "payment_intent.succeeded", payment))

    assert told.status == 204
    assert (await shop.decided(ada, order))["status"] == "confirmed"
    (processed,) = await recorded(shop, PaymentProcessed)
    assert processed.reference == "pi_1"


async def test_the_same_event_again_changes_nothing(deaf_shop: Shop) -> None:
    shop = deaf_shop
    ada = await shop.register("Ada")
    order, payment = await open_order(shop, ada)
    body = event("evt_1", "payment_intent.succeeded", payment)

    answers = await asyncio.gather(*(tell(shop, body) for _ in range(8)))
    await tell(shop, event("evt_2", "payment_intent.succeeded", payment))  # another that says the same

    assert {answer.status for answer in answers} == {204}
    assert (await shop.decided(ada, order))["status"] == "confirmed"
    assert len(await recorded(shop, NoticeReceived)) == 2
    assert len(await recorded(shop, PaymentProcessed)) == 1
    assert await recorded(shop, RefundRequested) == []


async def test_events_may_come_in_any_order(deaf_shop: Shop) -> None:
    shop = deaf_shop
    ada = await shop.register("Ada")
    order, payment = await open_order(shop, ada)

    declined = {"last_payment_error": {"code": "card_declined"}}
    for number, (type_, more) in enumerate(
        [
            ("payment_intent.payment_failed", declined),  # in the browser another card may be tried
            ("payment_intent.succeeded", {}),
            ("payment_intent.processing", {}),
            ("payment_intent.requires_action", {}),
            ("payment_intent.payment_failed", declined),
            ("payment_intent.created", {}),
        ]
    ):
        assert (await tell(shop, event(f"evt_{number}", type_, payment, **more))).status == 204

    assert (await shop.decided(ada, order))["status"] == "confirmed"
    assert (await status(shop, ada, order, "succeeded"))["reason"] == ""


async def paid_at_stripe(shop: Shop, buyer: Person) -> tuple[str, str]:
    """An order that was paid, by the charge `pi_1`, and its payment."""
    order, payment = await open_order(shop, buyer)
    await tell(shop, event("evt_paid", "payment_intent.succeeded", payment))
    assert (await shop.decided(buyer, order))["status"] == "confirmed"
    return order, payment


def told_of_charge(event: str, type_: str, /, **about: Any) -> bytes:
    thing = {"id": "xx_1", "payment_intent": "pi_1", "currency": "eur", "metadata": {}, **about}
    return json.dumps({"id": event, "object": "event", "type": type_, "data": {"object": thing}}).encode()


async def test_a_refund_at_stripe_itself_is_recorded(deaf_shop: Shop) -> None:
    shop = deaf_shop
    ada = await shop.register("Ada")
    order, _ = await paid_at_stripe(shop, ada)

    for id, total in (("evt_1", 500), ("evt_2", 1234), ("evt_1", 500), ("evt_3", 500)):
        assert (await tell(shop, told_of_charge(id, "charge.refunded", amount_refunded=total))).status == 204

    payment = await status(shop, ada, order, "refunded")
    assert payment["refunded"] == {"amount": "12.34", "currency": "EUR"}
    assert [fact.amount.amount for fact in await recorded(shop, RefundMadeElsewhere)] == ["5.00", "7.34"]
    assert await recorded(shop, RefundRequested) == []  # nothing more is asked for


async def test_a_failed_refund_is_recorded_and_can_be_made_again(deaf_shop: Shop) -> None:
    shop = deaf_shop
    ada, admin = await shop.register("Ada"), await shop.admin()
    order, payment = await paid_at_stripe(shop, ada)
    refund = (await admin.post(f"/v2/payments/{payment}/refunds", {"amount": {"amount": "5", "currency": "EUR"}})).json
    await shop.api(Payments).finish_refund(PaymentId(payment), RefundId(refund["id"]), Money.of("5", "EUR"))
    await status(shop, ada, order, "partially_refunded")
    failed = {
        "amount": 500,
        "status": "failed",
        "failure_reason": "lost_or_stolen_card",
        "metadata": {"refund": refund["id"]},
    }

    for id in ("evt_1", "evt_2"):
        assert (await tell(shop, told_of_charge(id, "refund.failed", **failed))).status == 204

    shown = await status(shop, ada, order, "succeeded")
    assert shown["refunded"]["amount"] == "0.00"
    assert [fact.reason for fact in await recorded(shop, RefundFailed)] == ["lost_or_stolen_card"]


async def test_a_refund_that_fails_before_its_report_counts_as_no_refund(deaf_shop: Shop) -> None:
    shop = deaf_shop
    ada, admin = await shop.register("Ada"), await shop.admin()
    order, payment = await paid_at_stripe(shop, ada)
    refund = (await admin.post(f"/v2/payments/{payment}/refunds", {"amount": {"amount": "5", "currency": "EUR"}})).json
    failed = {"amount": 500, "status": "failed", "metadata": {"refund": refund["id"]}}

    assert (await tell(shop, told_of_charge("evt_1", "refund.failed", **failed))).status == 204

    shown = await status(shop, ada, order, "succeeded", "partially_refunded")
    assert (shown["status"], shown["refunded"]["amount"]) == ("succeeded", "0.00")


@pytest.mark.parametrize(("end", "disputed"), [("won", False), ("lost", True)])
async def test_a_dispute_is_recorded_from_its_beginning_to_its_end(deaf_shop: Shop, end: str, disputed: bool) -> None:
    shop = deaf_shop
    ada = await shop.register("Ada")
    order, _ = await paid_at_stripe(shop, ada)
    dispute = {"id": "dp_1", "amount": 1234, "reason": "fraudulent"}

    opened = told_of_charge("evt_1", "charge.dispute.created", **dispute, status="needs_response")
    assert (await tell(shop, opened)).status == 204
    assert (await status(shop, ada, order, "succeeded"))["disputed"]
    closed = told_of_charge("evt_2", "charge.dispute.closed", **dispute, status=end)
    assert (await tell(shop, closed)).status == 204

    assert (await status(shop, ada, order, "succeeded"))["disputed"] is disputed
    assert len(await recorded(shop, PaymentDisputed)) == 1


@pytest.mark.parametrize(
    ("type_", "about"),
    [
        ("payment_intent.succeeded", {"id": "pi_9", "metadata": None}),
        ("checkout.session.completed", {"metadata": None, "payment_status": "paid"}),
        ("charge.refunded", {"payment_intent": None, "amount_refunded": 5, "currency": "eur", "metadata": None}),
        ("charge.refunded", {"payment_intent": "pi_of_another", "amount_refunded": 5, "currency": "eur"}),
        ("refund.failed", {"payment_intent": "pi_1", "amount": 5, "currency": "eur", "status": "failed"}),
        (
            "charge.dispute.closed",
            {"id": "dp", "amount": 5, "currency": "eur", "status": "won", "payment_intent": None},
        ),
    ],
)
async def test_a_notice_about_an_unknown_payment_is_recorded_and_changes_nothing(
    deaf_shop: Shop, type_: str, about: dict[str, Any]
) -> None:
    body = json.dumps({"id": "evt_1", "type": type_, "data": {"object": about}}).encode()

    assert (await tell(deaf_shop, body)).status == 204
    assert [fact.type for fact in await recorded(deaf_shop, NoticeReceived)] == [type_]


async def test_a_failure_is_told_with_its_reason(deaf_shop: Shop) -> None:
    shop = deaf_shop
    ada = await shop.register("Ada")
    order, payment = await open_order(shop, ada, "pm_card_visa")

    problem = {"code": "card_declined", "decline_code": "lost_card"}
    await tell(shop, event("evt_1", "payment_intent.payment_failed", payment, last_payment_error=problem))

    assert (await shop.decided(ada, order))["status_display"] == "Cancelled (The payment has failed: lost_card.)"


async def test_the_hosted_page_tells_that_it_was_paid(deaf_shop: Shop) -> None:
    shop = deaf_shop
    ada = await shop.register("Ada")
    order, payment = await open_order(shop, ada)

    page = {"id": "cs_1", "object": "checkout.session", "payment_intent": "pi_9"}
    await tell(shop, event("evt_1", "checkout.session.completed", payment, **page, payment_status="unpaid"))
    still = (await status(shop, ada, order, "requires_action", "processing"))["status"]
    await tell(shop, event("evt_2", "checkout.session.completed", payment, **page, payment_status="paid"))

    assert still == "requires_action"
    assert (await shop.decided(ada, order))["status"] == "confirmed"
    (processed,) = await recorded(shop, PaymentProcessed)
    assert processed.reference == "pi_9"


async def test_an_unknown_notice_is_recorded_and_changes_nothing(deaf_shop: Shop) -> None:
    shop = deaf_shop
    ada = await shop.register("Ada")
    order, payment = await open_order(shop, ada)
    strange = [
        event("evt_1", "invoice.created", None),
        event("evt_2", "a.type.of.next.year", payment),
        event("evt_3", "payment_intent.succeeded", None),
        event("evt_4", "payment_intent.succeeded", "not-one-of-ours"),
        event("evt_5", "payment_intent.succeeded", str(PaymentId.new())),
    ]

    for body in strange * 2:
        assert (await tell(shop, body)).status == 204

    assert [notice.type for notice in await recorded(shop, NoticeReceived)] == [
        "invoice.created",
        "a.type.of.next.year",
        *["payment_intent.succeeded"] * 3,
    ]
    assert await recorded(shop, PaymentProcessed) == []
    assert (await ada.get(f"/v1/orders/{order}")).json["status"] == "pending"


async def test_only_what_stripe_has_signed_is_believed(deaf_shop: Shop) -> None:
    shop = deaf_shop
    ada = await shop.register("Ada")
    order, payment = await open_order(shop, ada)
    body = event("evt_1", "payment_intent.succeeded", payment)
    path = "/v2/stripe/webhooks"

    refused = [
        await tell(shop, body, key="another"),
        await tell(shop, body, age=301),
        await tell(shop, body, of=body + b" "),
        await shop.nobody.post(path, body),
        await shop.nobody.post(path, body, {"Stripe-Signature": ""}),
        await (await shop.admin()).post(path, body, {"Stripe-Signature": "t=1,v1=00"}),
    ]
    nothing = await tell(shop, b"{}")

    assert [(answer.status, answer.code) for answer in refused] == [(422, "bad-signature")] * 6
    assert (nothing.status, nothing.code) == (422, "bad-notice")
    assert await recorded(shop, NoticeReceived) == []
    assert (await ada.get(f"/v1/orders/{order}")).json["status"] == "pending"


async def test_a_notice_has_at_most_64_kib(deaf_shop: Shop) -> None:
    shop = deaf_shop

    def sized(size: int) -> bytes:
        body = event("evt_1", "invoice.created", None)
        return body + b" " * (size - len(body))

    fits, over = await tell(shop, sized(64 * 1024)), await tell(shop, sized(64 * 1024 + 1))
    unsigned = await shop.nobody.post("/v2/stripe/webhooks", b"x" * 900_000)

    assert (fits.status, over.status, unsigned.status) == (204, 413, 413)
    assert len(await recorded(shop, NoticeReceived)) == 1


async def test_a_notice_that_is_nested_too_deep_is_refused(deaf_shop: Shop) -> None:
    body = event("evt_1", "payment_intent.succeeded", None)
    deep = body.replace(b'"object": {', b'"object": {"a": ' + b'{"a":' * 2_000 + b"1" + b"}" * 2_000 + b",", 1)

    answer = await tell(deaf_shop, deep)

    assert deep != body
    assert (answer.status, answer.code) == (422, "bad-notice")


async def begun_in_browser(shop: Shop, server: Server, buyer: Person) -> tuple[str, str, str]:
    """An order, its payment, and the charge that waits for its payer in the browser."""
    order, payment = await open_order(shop, buyer)
    started = (await buyer.post("/v2/payments", {"order": order})).json
    (intent,) = [one for one in await server.intents(order) if one["client_secret"] == started["client_secret"]]
    return order, payment, intent["id"]


async def test_the_charge_of_a_cancelled_order_is_called_off(localstripe: str, server: Server, tmp_path: Path) -> None:
    async with shop_at(localstripe, tmp_path) as shop:
        ada = await shop.register("Ada")
        order, _, intent = await begun_in_browser(shop, server, ada)

        await ada.post(f"/v1/orders/{order}/cancel", {"reason": "changed my mind"})

        async def called_off() -> bool:
            return bool((await server.get(f"/v1/payment_intents/{intent}"))["status"] == "canceled")

        await until(called_off)
        assert (await status(shop, ada, order, "failed"))["reason"] == "called off"
        assert await server.charges(intent) == []


async def test_late_money_goes_back_once_although_it_is_reported_twice(
    localstripe: str, server: Server, tmp_path: Path
) -> None:
    async with shop_at(localstripe, tmp_path) as shop:
        ada = await shop.register("Ada")
        order, payment, intent = await begun_in_browser(shop, server, ada)
        await server.post(f"/v1/payment_intents/{intent}/confirm", {"payment_method": "pm_card_visa"})
        await ada.post(f"/v1/orders/{order}/cancel", {"reason": "changed my mind"})  # before anybody has told us

        for id in ("evt_1", "evt_2"):
            await tell(shop, event(id, "payment_intent.succeeded", payment, **{"id": intent}))

        await status(shop, ada, order, "refunded")
        assert [refund["amount"] for refund in await server.refunds(intent)] == [1234]
        assert (await ada.get(f"/v1/orders/{order}")).json["status"] == "cancelled"


async def test_a_payment_made_in_the_browser_and_on_the_page_goes_back_once(
    localstripe: str, server: Server, tmp_path: Path
) -> None:
    async with shop_at(localstripe, tmp_path) as shop:
        ada = await shop.register("Ada")
        order, payment, intent = await begun_in_browser(shop, server, ada)
        await server.post(f"/v1/payment_intents/{intent}/confirm", {"payment_method": "pm_card_visa"})

        await tell(shop, event("evt_1", "payment_intent.succeeded", payment, **{"id": "pi_of_the_page"}))
        for id in ("evt_2", "evt_3"):
            await tell(shop, event(id, "payment_intent.succeeded", payment, **{"id": intent}))

        async def returned() -> bool:
            return bool(await recorded(shop, PaidAgainReturned))

        await until(returned)
        assert [refund["amount"] for refund in await server.refunds(intent)] == [1234]
        assert (await status(shop, ada, order, "succeeded"))["refunded"] == {"amount": "0.00", "currency": "EUR"}
        assert (await shop.decided(ada, order))["status"] == "confirmed"


@pytest.mark.parametrize("only", ["API_KEY", "WEBHOOK_SECRET"])
async def test_with_only_one_of_stripes_keys_the_market_does_not_start(tmp_path: Path, only: str) -> None:
    shop = Shop("sqlite", tmp_path, settings={f"CRATON_PAYMENTS_STRIPE_{only}": KEY})

    with pytest.raises(WiringError, match="CRATON_PAYMENTS_STRIPE_WEBHOOK_SECRET must be set both, or neither"):
        await shop.__aenter__()


async def test_while_stripe_is_unreachable_payments_answer_503(deaf_shop: Shop) -> None:
    shop = deaf_shop
    ada = await shop.register("Ada")
    order, _ = await open_order(shop, ada)

    for path in ("/v2/payments", "/v2/checkout-sessions"):
        answer = await ada.post(path, {"order": order})
        assert (path, answer.status) == (path, 503)
        assert int(answer.headers["retry-after"]) >= 1
        assert KEY not in answer.body.decode()
