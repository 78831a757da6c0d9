"""The gateway over Stripe: against `localstripe` as a server, and against a server that misbehaves as it is told."""

import asyncio
import hashlib
import hmac
import json
import logging
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import pytest

from tests.market.payments.stripe_server import KEY, MISSING, SECRET, Server

if MISSING and os.environ.get("CRATON_REQUIRE_SERVICES") != "1":
    pytest.skip(f"not installed: {', '.join(MISSING)}", allow_module_level=True)

from craton.application import Unavailable
from craton.domain import Money
from craton.testing import until
from market.payments.adapters.stripe import StripeGateway
from market.payments.events import BadNotice, BadSignature, ChargeOutcome, Notice, Standing
from market.payments.ports import ChargeRefused, Gateway, RefundRefused

# stripe's own client hands httpx a form in a way that httpx has deprecated
pytestmark = pytest.mark.filterwarnings(
    "ignore:Use 'content=<...>' to upload raw bytes/text content.:DeprecationWarning"
)

SUCCEEDED = ChargeOutcome(standing=Standing.SUCCEEDED)


def eur(amount: str) -> Money:
    return Money.of(amount, "EUR")


def gateway_at(url: str, *, key: str = KEY, timeout: float = 5.0) -> StripeGateway:
    return StripeGateway(
        key, SECRET, success_url="https://shop/paid", cancel_url="https://shop/cart", url=url, timeout_seconds=timeout
    )


@pytest.fixture
async def gateway(localstripe: str) -> AsyncIterator[StripeGateway]:
    gateway = gateway_at(localstripe)
    yield gateway
    await gateway.close()


class Script:
    """A server that answers as it is told, a status and a body or silence, and keeps what it was asked."""

    def __init__(self, *answers: tuple[int, Any] | None, headers: str = "") -> None:
        self.answers = list(answers)
        self.headers = headers
        self.asked: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.header: list[dict[str, str]] = []
        self._serving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[str]:
        """The URL at which it answers, until the end of the block."""
        async with await asyncio.start_server(self._start, "127.0.0.1", 0) as listening:
            yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        await asyncio.gather(*self._serving)

    def _start(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        header = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(header.get("content-length", 0)))
        self.asked.append(first.removesuffix(" HTTP/1.1"))
        self.header.append(header)
        self.bodies.append(body)
        self.forms.append(dict(parse_qsl(body.decode())))
        answer = self.answers.pop(0) if self.answers else (200, {})
        if answer is None:
            await reader.read()  # until the other side gives up
        else:
            status, content = answer
            text = content if isinstance(content, bytes) else json.dumps(content).encode()
            headers = f"{self.headers}content-length: {len(text)}\r\nconnection: close\r\n"
            writer.write(f"HTTP/1.1 {status} X\r\n{headers}\r\n".encode() + text)
        writer.close()
        await writer.wait_closed()

    def notices(self, gateway: Gateway) -> list[Notice]:
        """What it was told by webhooks; localstripe sends them a second late, so that some are of earlier tests."""
        told = zip(self.bodies, self.header, strict=True)
        return [gateway.read(body, header["stripe-signature"]) for body, header in told]


@asynccontextmanager
async def gateway_over(script: Script, *, patience: float = 5.0) -> AsyncIterator[StripeGateway]:
    async with script.playing() as url:
        gateway = gateway_at(url, timeout=patience)
        yield gateway
        await gateway.close()


def intent(status: str, **more: Any) -> dict[str, Any]:
    return {
        "object": "payment_intent",
        "id": "pi_1",
        "client_secret": "pi_1_secret_x",
        "status": status,
        "payment_method": None,
        "last_payment_error": None,
    } | more


def declined(method: str) -> dict[str, Any]:
    problem = {"code": "card_declined", "decline_code": "insufficient_funds"}
    method_object = {"object": "payment_method", "id": method}
    return intent("requires_payment_method", last_payment_error=problem | {"payment_method": method_object})


def error(code: str | None = None, **more: str) -> dict[str, Any]:
    return {"error": {"type": "invalid_request_error", "message": "No.", "code": code} | more}


# Announcing


def test_it_is_a_gateway() -> None:
    gateway: Gateway = gateway_at("http://127.0.0.1:1")

    assert isinstance(gateway, StripeGateway)


async def test_announcing_takes_no_money(gateway: StripeGateway, server: Server) -> None:
    announced = await gateway.announce("pay-1", "order-1", eur("12.34"))

    found = await server.get(f"/v1/payment_intents/{announced.reference}")
    assert (found["amount"], found["currency"], found["status"]) == (1234, "eur", "requires_payment_method")
    assert found["metadata"] == {"payment": "pay-1", "order": "order-1"}
    assert found["client_secret"] == announced.client_secret
    assert await server.charges(announced.reference) == []


async def test_announcing_again_carries_the_same_idempotency_key() -> None:
    script = Script((200, intent("requires_payment_method")), (200, intent("requires_payment_method")))
    async with gateway_over(script) as gateway:
        first = await gateway.announce("pay-1", "order-1", eur("1"))
        second = await gateway.announce("pay-1", "order-1", eur("1"))

    assert first == second
    assert [header["idempotency-key"] for header in script.header] == ["pay-1", "pay-1"]
    assert (
        script.forms[0]
        == script.forms[1]
        == {
            "amount": "100",
            "currency": "eur",
            "allowed_payment_method_types[0]": "card",
            "metadata[payment]": "pay-1",
            "metadata[order]": "order-1",
        }
    )


@pytest.mark.parametrize(
    ("amount", "units"),
    [("500 JPY", "500"), ("5 ISK", "500"), ("5 UGX", "500"), ("5.00 MGA", "5"), ("5.120 KWD", "5120")],
)
async def test_amounts_are_counted_as_stripe_counts_them(amount: str, units: str) -> None:
    script = Script((200, intent("requires_payment_method")))
    async with gateway_over(script) as gateway:
        await gateway.announce("pay-1", "order-1", Money.of(*amount.split()))

    assert script.forms[0]["amount"] == units


async def test_an_amount_that_stripe_cannot_express_is_refused_and_not_rounded() -> None:
    script = Script()
    async with gateway_over(script) as gateway:
        with pytest.raises(ChargeRefused, match="invalid_charge_amount"):
            await gateway.announce("pay-1", "order-1", Money.of("5.50", "MGA"))

    assert script.asked == []


# Charging


async def test_charging_takes_the_money(gateway: StripeGateway, server: Server) -> None:
    announced = await gateway.announce("pay-2", "order-2", eur("12.34"))

    assert await gateway.charge(announced.reference, "pm_card_visa") == SUCCEEDED

    (charge,) = await server.charges(announced.reference)
    assert (charge["amount"], charge["status"]) == (1234, "succeeded")


async def test_charging_again_takes_no_more(gateway: StripeGateway, server: Server) -> None:
    announced = await gateway.announce("pay-3", "order-3", eur("12.34"))

    outcomes = [await gateway.charge(announced.reference, "pm_card_visa") for _ in range(3)]

    assert outcomes == [SUCCEEDED] * 3
    assert len(await server.charges(announced.reference)) == 1


async def test_charging_twice_at_once_takes_the_money_once(gateway: StripeGateway, server: Server) -> None:
    announced = await gateway.announce("pay-4", "order-4", eur("12.34"))

    outcomes = await asyncio.gather(*(gateway.charge(announced.reference, "pm_card_visa") for _ in range(5)))

    assert outcomes == [SUCCEEDED] * 5
    assert len(await server.charges(announced.reference)) == 1


async def test_a_declined_card_is_an_outcome(gateway: StripeGateway, server: Server) -> None:
    announced = await gateway.announce("pay-5", "order-5", eur("1"))

    first = await gateway.charge(announced.reference, "pm_card_chargeCustomerFail")
    again = await gateway.charge(announced.reference, "pm_card_chargeCustomerFail")

    assert first == again == ChargeOutcome(standing=Standing.FAILED, reason="card_declined")
    assert len(await server.charges(announced.reference)) == 1


async def test_a_card_that_asks_for_a_check_requires_action(gateway: StripeGateway, server: Server) -> None:
    card = {"number": "4000002500003155", "exp_month": 12, "exp_year": 2030, "cvc": "123"}
    method = (await server.post("/v1/payment_methods", {"type": "card", "card": card})).json()["id"]
    announced = await gateway.announce("pay-6", "order-6", eur("1"))

    first = await gateway.charge(announced.reference, method)
    again = await gateway.charge(announced.reference, method)

    assert first == again == ChargeOutcome(standing=Standing.REQUIRES_ACTION)
    assert await server.charges(announced.reference) == []


async def test_without_a_card_the_payer_must_choose_one(gateway: StripeGateway) -> None:
    announced = await gateway.announce("pay-7", "order-7", eur("1"))

    assert await gateway.charge(announced.reference, None) == ChargeOutcome(standing=Standing.REQUIRES_ACTION)


async def test_the_reason_of_a_decline_is_the_one_that_the_bank_gives() -> None:
    refusal = error("card_declined", type="card_error", decline_code="insufficient_funds")
    script = Script((200, intent("requires_confirmation")), (402, refusal), (200, declined("pm_1")))
    async with gateway_over(script) as gateway:
        outcome = await gateway.charge("pi_1", "pm_1")

    assert outcome == ChargeOutcome(standing=Standing.FAILED, reason="insufficient_funds")


async def test_a_card_that_was_declined_is_not_tried_again() -> None:
    script = Script((200, declined("pm_1")))
    async with gateway_over(script) as gateway:
        outcome = await gateway.charge("pi_1", "pm_1")

    assert outcome == ChargeOutcome(standing=Standing.FAILED, reason="insufficient_funds")
    assert script.asked == ["GET /v1/payment_intents/pi_1"]


async def test_another_card_is_tried_after_one_was_declined() -> None:
    script = Script((200, declined("pm_1")), (200, intent("succeeded")))
    async with gateway_over(script) as gateway:
        assert await gateway.charge("pi_1", "pm_2") == SUCCEEDED

    assert script.asked[1] == "POST /v1/payment_intents/pi_1/confirm"
    assert script.forms[1] == {"payment_method": "pm_2"}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("processing", ChargeOutcome(standing=Standing.PROCESSING)),
        ("canceled", ChargeOutcome(standing=Standing.FAILED, reason="canceled")),
        ("succeeded", SUCCEEDED),
        ("some_status_of_next_year", ChargeOutcome(standing=Standing.PROCESSING)),
    ],
)
async def test_a_charge_that_is_settled_or_in_progress_is_not_confirmed(status: str, outcome: ChargeOutcome) -> None:
    script = Script((200, intent(status)))
    async with gateway_over(script) as gateway:
        assert await gateway.charge("pi_1", "pm_1") == outcome

    assert script.asked == ["GET /v1/payment_intents/pi_1"]


async def test_a_method_that_stripe_refuses_is_a_failed_charge() -> None:
    waiting = intent("requires_payment_method")
    script = Script((200, waiting), (400, error("resource_missing")), (200, waiting))
    async with gateway_over(script) as gateway:
        outcome = await gateway.charge("pi_1", "pm_wrong")

    assert outcome == ChargeOutcome(standing=Standing.FAILED, reason="resource_missing")


async def test_a_confirmation_that_comes_second_learns_of_the_first() -> None:
    late = error("payment_intent_unexpected_state")
    script = Script((200, intent("requires_confirmation")), (400, late), (200, intent("succeeded")))
    async with gateway_over(script) as gateway:
        assert await gateway.charge("pi_1", None) == SUCCEEDED


async def test_after_a_timeout_stripe_is_asked_about_the_charge_and_not_charged_again() -> None:
    script = Script((200, intent("requires_confirmation")), None, (200, intent("succeeded")))
    async with gateway_over(script, patience=0.2) as gateway:
        with pytest.raises(Unavailable) as raised:
            await gateway.charge("pi_1", "pm_1")
        outcome = await gateway.charge("pi_1", "pm_1")

    assert raised.value.maybe_executed
    assert outcome == SUCCEEDED
    assert [asked.rpartition("/")[2] for asked in script.asked] == ["pi_1", "confirm", "pi_1"]


# Calling off


async def test_a_charge_that_was_called_off_can_never_be_made(gateway: StripeGateway, server: Server) -> None:
    announced = await gateway.announce("pay-20", "order-20", eur("1"))

    outcomes = [
        await gateway.call_off(announced.reference),
        await gateway.charge(announced.reference, "pm_card_visa"),
        await gateway.call_off(announced.reference),
    ]

    assert outcomes == [ChargeOutcome(standing=Standing.FAILED, reason="canceled")] * 3
    assert (await server.get(f"/v1/payment_intents/{announced.reference}"))["status"] == "canceled"
    assert await server.charges(announced.reference) == []


async def test_without_a_card_it_can_be_called_off_as_well(gateway: StripeGateway) -> None:
    announced = await gateway.announce("pay-21", "order-21", eur("1"))

    assert (await gateway.call_off(announced.reference)).standing is Standing.FAILED


async def test_a_charge_that_was_declined_can_be_called_off(gateway: StripeGateway) -> None:
    announced = await gateway.announce("pay-22", "order-22", eur("1"))
    await gateway.charge(announced.reference, "pm_card_chargeCustomerFail")

    assert (await gateway.call_off(announced.reference)).standing is Standing.FAILED


async def test_a_charge_that_has_taken_the_money_cannot_be_called_off(gateway: StripeGateway, server: Server) -> None:
    announced = await gateway.announce("pay-23", "order-23", eur("1"))
    await gateway.charge(announced.reference, "pm_card_visa")

    assert await gateway.call_off(announced.reference) == SUCCEEDED

    (charge,) = await server.charges(announced.reference)
    assert (charge["status"], charge["refunded"]) == ("succeeded", False)


async def test_of_charging_and_calling_off_at_once_one_succeeds(gateway: StripeGateway, server: Server) -> None:
    announced = await gateway.announce("pay-24", "order-24", eur("1"))

    charged, called_off = await asyncio.gather(
        gateway.charge(announced.reference, "pm_card_visa"), gateway.call_off(announced.reference)
    )

    assert charged.standing is called_off.standing
    taken = len(await server.charges(announced.reference))
    assert taken == (1 if charged.standing is Standing.SUCCEEDED else 0)


async def test_a_charge_in_progress_is_reported_as_processing() -> None:
    refusal = error("payment_intent_unexpected_state")
    script = Script((400, refusal), (200, intent("processing")))
    async with gateway_over(script) as gateway:
        assert await gateway.call_off("pi_1") == ChargeOutcome(standing=Standing.PROCESSING)

    assert script.asked == ["POST /v1/payment_intents/pi_1/cancel", "GET /v1/payment_intents/pi_1"]


async def test_after_a_timeout_a_charge_is_called_off_again() -> None:
    script = Script(None, (200, intent("canceled")))
    async with gateway_over(script, patience=0.2) as gateway:
        with pytest.raises(Unavailable) as raised:
            await gateway.call_off("pi_1")
        outcome = await gateway.call_off("pi_1")

    assert raised.value.maybe_executed
    assert outcome == ChargeOutcome(standing=Standing.FAILED, reason="canceled")


# Refunding


async def paid(gateway: StripeGateway, payment: str) -> str:
    reference = (await gateway.announce(payment, "order", eur("10"))).reference
    assert await gateway.charge(reference, "pm_card_visa") == SUCCEEDED
    return reference


async def test_a_refund_gives_back_part_of_the_money(gateway: StripeGateway, server: Server) -> None:
    reference = await paid(gateway, "pay-8")

    await gateway.refund(reference, "refund-1", eur("4"))

    (made,) = await server.refunds(reference)
    assert (made["amount"], made["metadata"]) == (400, {"refund": "refund-1"})


async def test_a_repeated_refund_gives_back_once_even_if_the_server_forgets_keys(
    gateway: StripeGateway, server: Server
) -> None:
    reference = await paid(gateway, "pay-9")

    for refund in ("refund-1", "refund-2", "refund-1", "refund-2"):
        await gateway.refund(reference, refund, eur("4"))

    assert sorted(made["metadata"]["refund"] for made in await server.refunds(reference)) == ["refund-1", "refund-2"]


async def test_a_refund_made_before_is_found_on_any_page() -> None:
    def made(number: int) -> dict[str, Any]:
        return {"object": "refund", "id": f"re_{number}", "status": "succeeded", "metadata": {"refund": f"r{number}"}}

    def page(*numbers: int, more: bool) -> dict[str, Any]:
        return {"object": "list", "url": "/v1/refunds", "has_more": more, "data": [made(number) for number in numbers]}

    script = Script((200, page(1, 2, more=True)), (200, page(3, more=False)))
    async with gateway_over(script) as gateway:
        await gateway.refund("pi_1", "r3", eur("1"))

    assert [asked.split()[0] for asked in script.asked] == ["GET", "GET"]
    assert parse_qs(script.asked[1].partition("?")[2])["starting_after"] == ["re_2"]


NO_REFUNDS = {"object": "list", "url": "/v1/refunds", "has_more": False, "data": []}


async def test_a_refund_carries_its_id_as_idempotency_key() -> None:
    refund = {"object": "refund", "id": "re_1", "status": "succeeded"}
    script = Script((200, NO_REFUNDS), (200, refund))
    async with gateway_over(script) as gateway:
        await gateway.refund("pi_1", "refund-1", eur("1"))

    assert script.header[1]["idempotency-key"] == "refund-1"
    assert script.forms[1] == {"payment_intent": "pi_1", "amount": "100", "metadata[refund]": "refund-1"}


async def test_a_pending_refund_is_asked_about_again() -> None:
    def refund(status: str) -> dict[str, Any]:
        return {"object": "refund", "id": "re_1", "status": status, "metadata": {"refund": "refund-1"}}

    script = Script((200, NO_REFUNDS), (200, refund("pending")), (200, {**NO_REFUNDS, "data": [refund("succeeded")]}))
    async with gateway_over(script) as gateway:
        with pytest.raises(Unavailable) as raised:
            await gateway.refund("pi_1", "refund-1", eur("1"))
        await gateway.refund("pi_1", "refund-1", eur("1"))

    assert raised.value.maybe_executed
    assert len(script.asked) == 3


async def test_a_failed_payment_is_not_refunded(gateway: StripeGateway, server: Server) -> None:
    announced = await gateway.announce("pay-10", "order", eur("1"))
    await gateway.charge(announced.reference, "pm_card_chargeCustomerFail")

    with pytest.raises(RefundRefused):
        await gateway.refund(announced.reference, "refund-1", eur("1"))

    assert await server.refunds(announced.reference) == []


async def test_a_refused_refund_tells_why() -> None:
    script = Script((200, NO_REFUNDS), (400, error("charge_disputed")))
    async with gateway_over(script) as gateway:
        with pytest.raises(RefundRefused) as raised:
            await gateway.refund("pi_1", "refund-1", eur("1"))

    assert raised.value.reason == "charge_disputed"


async def test_a_refund_that_was_made_at_stripe_itself_counts_as_made() -> None:
    script = Script((200, NO_REFUNDS), (400, error("charge_already_refunded")))
    async with gateway_over(script) as gateway:
        await gateway.refund("pi_1", "refund-1", eur("1"))


async def test_a_refund_that_the_bank_sent_back_is_refused() -> None:
    failed = {"object": "refund", "id": "re_1", "status": "failed", "failure_reason": "expired_or_canceled_card"}
    script = Script((200, NO_REFUNDS | {"data": [failed | {"metadata": {"refund": "refund-1"}}]}))
    async with gateway_over(script) as gateway:
        with pytest.raises(RefundRefused) as raised:
            await gateway.refund("pi_1", "refund-1", eur("1"))

    assert raised.value.reason == "expired_or_canceled_card"


# The hosted page; localstripe has none


async def test_the_page_asks_for_the_amount_and_knows_the_payment() -> None:
    script = Script((200, {"object": "checkout.session", "id": "cs_1", "url": "https://checkout/cs_1"}))
    async with gateway_over(script) as gateway:
        url = await gateway.page("pay-1", "order-1", eur("12.34"))

    assert url == "https://checkout/cs_1"
    assert script.asked == ["POST /v1/checkout/sessions"]
    assert script.header[0]["idempotency-key"] == "pay-1-page"
    assert script.forms[0] == {
        "mode": "payment",
        "line_items[0][quantity]": "1",
        "line_items[0][price_data][currency]": "eur",
        "line_items[0][price_data][unit_amount]": "1234",
        "line_items[0][price_data][product_data][name]": "Order order-1",
        "success_url": "https://shop/paid",
        "cancel_url": "https://shop/cart",
        "metadata[payment]": "pay-1",
        "metadata[order]": "order-1",
        "payment_intent_data[metadata][payment]": "pay-1",
        "payment_intent_data[metadata][order]": "order-1",
    }


# Webhooks


@pytest.mark.parametrize(
    ("method", "type_", "outcome"),
    [
        ("pm_card_visa", "payment_intent.succeeded", SUCCEEDED),
        (
            "pm_card_chargeCustomerFail",
            "payment_intent.payment_failed",
            ChargeOutcome(standing=Standing.FAILED, reason="card_declined"),
        ),
    ],
)
async def test_a_webhook_tells_how_a_charge_ended(
    gateway: StripeGateway, server: Server, method: str, type_: str, outcome: ChargeOutcome
) -> None:
    receiver, payment = Script(), f"pay-{method}"
    async with receiver.playing() as url:
        await server.post("/_config/webhooks/tests", {"url": url, "secret": SECRET, "events": [type_]})
        announced = await gateway.announce(payment, "order", eur("1"))
        await gateway.charge(announced.reference, method)

        def told_of_it() -> list[Notice]:
            return [notice for notice in receiver.notices(gateway) if notice.payment == payment]

        told = await until(told_of_it)

    assert told[0].id.startswith("evt_")
    assert (told[0].type, told[0].reference, told[0].outcome) == (type_, announced.reference, outcome)


def signed(body: bytes, secret: str = SECRET, *, age: float = 0) -> str:
    at = str(int(time.time() - age))
    return f"t={at},v1={hmac.new(secret.encode(), at.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


def event(type_: str, about: Any) -> bytes:
    return json.dumps({"id": "evt_1", "object": "event", "type": type_, "data": {"object": about}}).encode()


def read(body: bytes, signature: str | None = None) -> Notice:
    return gateway_at("http://127.0.0.1:1").read(body, signed(body) if signature is None else signature)


OURS: dict[str, Any] = {"id": "pi_1", "metadata": {"payment": "pay-1", "order": "order-1"}}
PAGE: dict[str, Any] = {"id": "cs_1", "payment_intent": "pi_1"}


@pytest.mark.parametrize(
    ("type_", "details", "outcome"),
    [
        ("payment_intent.succeeded", {}, SUCCEEDED),
        ("payment_intent.processing", {}, ChargeOutcome(standing=Standing.PROCESSING)),
        ("payment_intent.requires_action", {}, ChargeOutcome(standing=Standing.REQUIRES_ACTION)),
        (
            "payment_intent.payment_failed",
            {"last_payment_error": {"code": "card_declined", "decline_code": "lost_card"}},
            ChargeOutcome(standing=Standing.FAILED, reason="lost_card"),
        ),
        (
            "payment_intent.payment_failed",
            {"last_payment_error": {"code": "expired_card"}},
            ChargeOutcome(standing=Standing.FAILED, reason="expired_card"),
        ),
        (
            "payment_intent.payment_failed",
            {"last_payment_error": None},
            ChargeOutcome(standing=Standing.FAILED, reason="unknown"),
        ),
        ("checkout.session.completed", PAGE | {"payment_status": "paid"}, SUCCEEDED),
        (
            "checkout.session.completed",
            PAGE | {"payment_status": "unpaid"},
            ChargeOutcome(standing=Standing.PROCESSING),
        ),
    ],
)
def test_an_event_means_an_outcome_of_our_payment(type_: str, details: dict[str, Any], outcome: ChargeOutcome) -> None:
    notice = read(event(type_, OURS | details | {"a_field_of_next_year": [1]}))

    assert notice == Notice(id="evt_1", type=type_, payment="pay-1", reference="pi_1", outcome=outcome)


def test_a_page_without_a_charge_names_no_charge() -> None:
    session = PAGE | OURS | {"payment_intent": None, "payment_status": "unpaid"}

    assert read(event("checkout.session.completed", session)).reference == ""


def test_an_event_about_an_unknown_payment_names_no_payment() -> None:
    assert read(event("payment_intent.succeeded", {"id": "pi_2", "metadata": {}})).payment is None


@pytest.mark.parametrize("about", [OURS, {"metadata": None}, []])
def test_any_other_event_reports_only_its_type(about: Any) -> None:
    assert read(event("invoice.created", about)) == Notice(id="evt_1", type="invoice.created")


BODY = event("payment_intent.succeeded", OURS)


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        pytest.param(BODY, "", id="missing"),
        pytest.param(BODY, "nonsense", id="no signature at all"),
        pytest.param(BODY, signed(BODY, "whsec_other"), id="with another secret"),
        pytest.param(BODY + b" ", signed(BODY), id="of another body"),
        pytest.param(BODY, signed(BODY).replace("v1=", "v0="), id="of another scheme"),
        pytest.param(BODY, signed(BODY).replace("v1=", "v1=\u00e9"), id="not ASCII"),
        pytest.param(BODY, signed(BODY, age=301), id="more than five minutes old"),
        pytest.param(b"\xff", signed(b"\xff"), id="of what is no text"),
    ],
)
def test_a_wrong_signature_is_refused(body: bytes, signature: str) -> None:
    with pytest.raises(BadSignature):
        read(body, signature)


def test_a_signature_is_good_for_five_minutes() -> None:
    assert read(BODY, signed(BODY, age=290)).payment == "pay-1"


def test_a_signature_is_good_if_one_of_several_is() -> None:
    """While the secret is being replaced Stripe signs with both."""
    assert read(BODY, f"{signed(BODY, 'whsec_old')},{signed(BODY).split(',')[1]}").payment == "pay-1"


def test_without_a_secret_every_signature_is_refused() -> None:
    gateway = StripeGateway(KEY, "", success_url="https://shop/paid", cancel_url="https://shop/cart")

    with pytest.raises(BadSignature):
        gateway.read(BODY, signed(BODY, ""))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"id": 1, "type": "payment_intent.succeeded", "data": {"object": {"id": "pi_1", "metadata": {}}}}',
        b'{"id": "evt_1", "type": "payment_intent.succeeded"}',
        event("payment_intent.succeeded", OURS | {"metadata": "none"}),
        event("payment_intent.succeeded", OURS | {"metadata": {"payment": 7}}),
        event("payment_intent.succeeded", {"metadata": {"payment": "pay-1"}}),
        event("checkout.session.completed", OURS),
    ],
)
def test_a_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(BadNotice):
        read(body)


# When Stripe can't be reached


async def unavailable(gateway: StripeGateway) -> Unavailable:
    with pytest.raises(Unavailable) as raised:
        await gateway.announce("pay-1", "order-1", eur("1"))
    return raised.value


async def test_a_refused_connection_has_executed_nothing() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        gateway = gateway_at(f"http://127.0.0.1:{closed.getsockname()[1]}")
        problem = await unavailable(gateway)
        await gateway.close()

    assert (str(problem), problem.maybe_executed) == ("Stripe can't be reached: ConnectError.", False)


async def test_a_request_without_an_answer_may_have_been_executed() -> None:
    async with gateway_over(Script(None), patience=0.2) as gateway:
        problem = await unavailable(gateway)

    assert (str(problem), problem.maybe_executed) == ("Stripe can't be reached: ReadTimeout.", True)


async def test_a_read_without_an_answer_has_executed_nothing() -> None:
    async with gateway_over(Script(None), patience=0.2) as gateway:
        with pytest.raises(Unavailable) as raised:
            await gateway.charge("pi_1", None)

    assert not raised.value.maybe_executed


@pytest.mark.parametrize(
    ("status", "body", "maybe_executed"),
    [
        (500, error(), True),
        (503, b"<html>", True),
        (200, b"<html>", True),
        (409, error("idempotency_key_in_use"), True),
        (401, error(), False),
        (403, error(), False),
        (429, error("rate_limit"), False),
    ],
)
async def test_an_invalid_answer_says_whether_the_request_may_have_been_executed(
    status: int, body: Any, maybe_executed: bool
) -> None:
    async with gateway_over(Script((status, body))) as gateway:
        assert (await unavailable(gateway)).maybe_executed is maybe_executed


@pytest.mark.parametrize(("headers", "seconds"), [("retry-after: 7\r\n", 7), ("retry-after: soon\r\n", 1), ("", 1)])
async def test_a_rate_limit_says_when_to_come_again(headers: str, seconds: int) -> None:
    async with gateway_over(Script((429, error("rate_limit")), headers=headers)) as gateway:
        assert (await unavailable(gateway)).retry_after == seconds


async def test_a_request_that_stripe_refuses_does_not_count_as_an_outage() -> None:
    async with gateway_over(Script((400, error("amount_too_small")))) as gateway:
        with pytest.raises(ChargeRefused, match=r"refuses the charge: amount_too_small\.") as raised:
            await gateway.announce("pay-1", "order-1", eur("0.01"))

    assert not isinstance(raised.value, Unavailable)


# Secrets


async def test_a_wrong_key_counts_as_an_outage_and_is_not_shown(localstripe: str) -> None:
    gateway = gateway_at(localstripe, key="wrong_verysecret")
    problem = await unavailable(gateway)
    await gateway.close()

    assert str(problem) == "Stripe doesn't accept our API key."
    assert "verysecret" not in repr(problem)
    assert problem.__suppress_context__


async def test_neither_logs_nor_error_texts_hold_secrets(localstripe: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    gateway = gateway_at(localstripe)
    announced = await gateway.announce("pay-12", "order", eur("1"))
    await gateway.charge(announced.reference, "pm_card_visa")
    gateway.read(BODY, signed(BODY))
    await gateway.close()

    assert "payment_intents" in caplog.text  # something was logged
    assert "verysecret" not in caplog.text + repr(gateway) + str(gateway)
    assert announced.client_secret not in caplog.text
