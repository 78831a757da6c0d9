"""The gateway that takes money through Stripe."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from fractions import Fraction
from typing import Any, Final, cast

import httpx
import msgspec
import stripe
from stripe.params.checkout import SessionCreateParamsLineItemPriceData as Price

from craton.adapters.breaker import Breaker
from craton.application import Unavailable
from craton.domain import Currency, Money
from market.payments.events import (
    BadNotice,
    BadSignature,
    ChargeOutcome,
    Dispute,
    FailedRefund,
    Notice,
    Standing,
)
from market.payments.ports import ChargeRefused, Intent, RefundRefused

MAX_SIGNATURE_AGE_SECONDS: Final = 300
NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
STANDINGS: Final = {
    "requires_payment_method": Standing.REQUIRES_ACTION,
    "requires_confirmation": Standing.REQUIRES_ACTION,
    "requires_action": Standing.REQUIRES_ACTION,
    "succeeded": Standing.SUCCEEDED,
    "canceled": Standing.FAILED,
}
"""What the status of an intent means. Any other status means that the charge is being processed."""
EVENTS: Final = {
    "payment_intent.succeeded": Standing.SUCCEEDED,
    "payment_intent.payment_failed": Standing.FAILED,
    "payment_intent.processing": Standing.PROCESSING,
    "payment_intent.requires_action": Standing.REQUIRES_ACTION,
}
STRIPE_UNITS: Final[dict[str, int | Fraction]] = {"ISK": 100, "UGX": 100, "MGA": Fraction(1, 100)}
"""How many of Stripe's smallest units make one of ISO 4217, for the currencies in which the two differ."""

# At lower levels the library logs whole answers, which hold client secrets, and refusals, which may hold parts of keys.
logging.getLogger("stripe").setLevel(logging.WARNING)


class StripeGateway:
    """Takes money through Stripe's API. `timeout_seconds` limits each wait for it. The caller has to try again."""

    def __init__(
        self,
        api_key: str,
        webhook_secret: str,
        *,
        success_url: str,
        cancel_url: str,
        url: str = "https://api.stripe.com",
        timeout_seconds: float = 8.0,
    ) -> None:
        self._breaker = Breaker("Stripe")
        self._webhook_secret = webhook_secret
        self._success_url, self._cancel_url = success_url, cancel_url
        self._http = stripe.HTTPXClient(timeout=timeout_seconds)
        self._api = stripe.StripeClient(
            api_key, base_addresses={"api": url}, http_client=self._http, max_network_retries=0
        ).v1

    @asynccontextmanager
    async def _asking(self, *, writing: bool = False) -> AsyncIterator[None]:
        async with self._breaker.asking():
            with _translated_errors(writing=writing):
                yield

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    async def announce(self, payment: str, order: str, amount: Money) -> Intent:
        async with self._asking(writing=True):
            intent = await self._api.payment_intents.create_async(
                {
                    "amount": _units(amount),
                    "currency": amount.currency.lower(),
                    "allowed_payment_method_types": ["card"],  # other types may send the payer to another site
                    "metadata": {"payment": payment, "order": order},
                },
                {"idempotency_key": payment},
            )
        return Intent(reference=intent.id, client_secret=cast(str, intent.client_secret))

    async def charge(self, reference: str, method: str | None) -> ChargeOutcome:
        async with self._asking():
            intent = await self._api.payment_intents.retrieve_async(reference)
        other = method if method != _newest_method(intent) else None
        is_open = STANDINGS.get(intent.status) is Standing.REQUIRES_ACTION
        can_confirm = bool(other) or intent.status == "requires_confirmation"
        if not is_open or not can_confirm:
            return _outcome(intent)
        try:
            async with self._asking(writing=True):
                confirm = self._api.payment_intents.confirm_async
                return _outcome(await confirm(reference, {"payment_method": cast(str, other)}))
        except ChargeRefused as refused:
            # The card was declined, or a concurrent call has taken the money and left nothing to confirm.
            async with self._asking(writing=True):
                outcome = _outcome(await self._api.payment_intents.retrieve_async(reference))
            taken = outcome.standing in (Standing.SUCCEEDED, Standing.PROCESSING)
            return outcome if taken else ChargeOutcome(standing=Standing.FAILED, reason=refused.reason)

    async def call_off(self, reference: str) -> ChargeOutcome:
        try:
            async with self._asking(writing=True):
                return _outcome(await self._api.payment_intents.cancel_async(reference))
        except ChargeRefused:  # the charge has already succeeded or failed
            async with self._asking():
                return _outcome(await self._api.payment_intents.retrieve_async(reference))

    async def refund(self, reference: str, refund: str, amount: Money) -> None:
        try:
            made = await self._find_refund(reference, refund)
            if made is None:
                async with self._asking(writing=True):
                    made = await self._api.refunds.create_async(
                        {"payment_intent": reference, "amount": _units(amount), "metadata": {"refund": refund}},
                        {"idempotency_key": refund},
                    )
        except ChargeRefused as refused:
            if refused.reason == "charge_already_refunded":
                return  # the refund was made at Stripe itself
            raise RefundRefused(reason=refused.reason) from None
        if made.status in ("pending", "requires_action"):
            raise Unavailable("Stripe hasn't paid it back yet.", maybe_executed=True)
        if made.status in ("failed", "canceled"):
            raise RefundRefused(reason=getattr(made, "failure_reason", None) or made.status)

    async def _find_refund(self, reference: str, refund: str) -> stripe.Refund | None:
        """The refund that an earlier call has made. Idempotency keys don't suffice: Stripe forgets them after a day."""
        async with self._asking():
            first = await self._api.refunds.list_async({"payment_intent": reference, "limit": 100})
            async for made in first.auto_paging_iter():
                if getattr(made.metadata, "refund", None) == refund:
                    return made
        return None

    async def page(self, payment: str, order: str, amount: Money) -> str:
        price: Price = {
            "currency": amount.currency.lower(),
            "unit_amount": _units(amount),
            "product_data": {"name": f"Order {order}"},
        }
        metadata = {"payment": payment, "order": order}
        async with self._asking(writing=True):
            session = await self._api.checkout.sessions.create_async(
                {
                    "mode": "payment",
                    "line_items": [{"quantity": 1, "price_data": price}],
                    "success_url": self._success_url,
                    "cancel_url": self._cancel_url,
                    "metadata": metadata,
                    "payment_intent_data": {"metadata": metadata},
                },
                {"idempotency_key": f"{payment}-page"},
            )
        return cast(str, session.url)

    def read(self, body: bytes, signature: str) -> Notice:
        try:
            stripe.WebhookSignature.verify_header(body, signature, self._webhook_secret, MAX_SIGNATURE_AGE_SECONDS)
        except (stripe.SignatureVerificationError, ValueError, TypeError):  # the last two: not UTF-8, not ASCII
            raise BadSignature() from None
        try:
            event = msgspec.json.decode(body, type=_Event)
            return Notice(id=event.id, type=event.type, **_notice_fields(event.type, event.data.object))
        except (msgspec.MsgspecError, RecursionError, ValueError):
            raise BadNotice() from None


class _Data(msgspec.Struct):
    object: msgspec.Raw


class _Event(msgspec.Struct):
    id: str
    type: str
    data: _Data


class _Problem(msgspec.Struct):
    code: str | None = None
    decline_code: str | None = None


class _Intent(msgspec.Struct):
    id: str
    metadata: dict[str, str] | None = None
    last_payment_error: _Problem | None = None


class _Session(msgspec.Struct):
    payment_status: str
    metadata: dict[str, str] | None = None
    payment_intent: str | None = None


class _Charge(msgspec.Struct):
    amount_refunded: int
    currency: str
    payment_intent: str | None = None
    metadata: dict[str, str] | None = None
    """The metadata of the intent, from the time when the charge was made."""


class _Refund(msgspec.Struct):
    amount: int
    currency: str
    status: str | None = None
    failure_reason: str | None = None
    payment_intent: str | None = None
    metadata: dict[str, str] | None = None


class _Dispute(msgspec.Struct):
    id: str
    amount: int
    currency: str
    status: str
    reason: str | None = None
    payment_intent: str | None = None


def _notice_fields(event: str, about: msgspec.Raw) -> dict[str, Any]:
    """The fields of a notice: which payment or which charge an event is about, and what it reports."""
    match event:
        case "checkout.session.completed":
            session = msgspec.json.decode(about, type=_Session)
            standing = Standing.SUCCEEDED if session.payment_status == "paid" else Standing.PROCESSING
            return _of_charge(session.payment_intent, session.metadata) | {"outcome": ChargeOutcome(standing=standing)}
        case "charge.refunded":
            charge = msgspec.json.decode(about, type=_Charge)
            return _of_charge(charge.payment_intent, charge.metadata) | {
                "returned": _money(charge.amount_refunded, charge.currency)
            }
        case "refund.failed" | "refund.updated" | "charge.refund.updated":
            refund = msgspec.json.decode(about, type=_Refund)
            if refund.status not in ("failed", "canceled"):
                return {}
            failed = FailedRefund(
                refund=(refund.metadata or {}).get("refund", ""),
                amount=_money(refund.amount, refund.currency),
                reason=refund.failure_reason or refund.status,
            )
            return _of_charge(refund.payment_intent) | {"failed_refund": failed}
        case "charge.dispute.created" | "charge.dispute.closed":
            told = msgspec.json.decode(about, type=_Dispute)
            lost = None if event == "charge.dispute.created" else told.status == "lost"
            amount = _money(told.amount, told.currency)
            dispute = Dispute(id=told.id, amount=amount, reason=told.reason or "unknown", lost=lost)
            return _of_charge(told.payment_intent) | {"dispute": dispute}
        case _ if event in EVENTS:
            intent, standing = msgspec.json.decode(about, type=_Intent), EVENTS[event]
            reason = _reason(intent.last_payment_error) if standing is Standing.FAILED else ""
            return _of_charge(intent.id, intent.metadata) | {"outcome": ChargeOutcome(standing=standing, reason=reason)}
        case _:
            return {}


def _of_charge(reference: str | None, metadata: dict[str, str] | None = None) -> dict[str, Any]:
    return {"reference": reference or "", "payment": (metadata or {}).get("payment")}


def _outcome(intent: stripe.PaymentIntent) -> ChargeOutcome:
    if intent.status == "requires_payment_method" and intent.last_payment_error:
        return ChargeOutcome(standing=Standing.FAILED, reason=_reason(intent.last_payment_error))
    reason = "canceled" if intent.status == "canceled" else ""
    return ChargeOutcome(standing=STANDINGS.get(intent.status, Standing.PROCESSING), reason=reason)


def _newest_method(intent: stripe.PaymentIntent) -> object:
    """The method that will pay or has failed to pay. After a decline, Stripe names the method only with the error."""
    return intent.payment_method or getattr(getattr(intent.last_payment_error, "payment_method", None), "id", None)


def _reason(problem: object) -> str:
    return getattr(problem, "decline_code", None) or getattr(problem, "code", None) or "unknown"


def _units(money: Money) -> int:
    """The amount in Stripe's smallest units. https://docs.stripe.com/currencies"""
    units = Fraction(money.minor) * STRIPE_UNITS.get(money.currency, 1)
    if units.denominator != 1:
        raise ChargeRefused(reason="invalid_charge_amount")
    return units.numerator


def _money(units: int, currency: str) -> Money:
    """The money that so many of Stripe's smallest units are. Raises `ValueError`."""
    known = Currency(currency.upper())
    minor = Fraction(units) / STRIPE_UNITS.get(known, 1)
    if minor.denominator != 1:
        raise ValueError("this is no amount of the currency")
    return Money(minor.numerator, known)


@contextmanager
def _translated_errors(*, writing: bool) -> Iterator[None]:
    """Turn the library's errors into `ChargeRefused` and `Unavailable`, because their texts may hold secrets."""
    try:
        yield
    except (stripe.CardError, stripe.InvalidRequestError, stripe.IdempotencyError) as problem:
        raise ChargeRefused(reason=_reason(problem.error)) from None
    except stripe.RateLimitError as problem:
        after = str((problem.headers or {}).get("retry-after", ""))
        seconds = int(after) if after.isdecimal() else 1
        raise Unavailable("Stripe gets too many requests.", maybe_executed=False, retry_after=seconds) from None
    except (stripe.AuthenticationError, stripe.PermissionError):
        raise Unavailable("Stripe doesn't accept our API key.", maybe_executed=False) from None
    except stripe.APIConnectionError as problem:
        cause, was_sent = type(problem.__cause__).__name__, not isinstance(problem.__cause__, NEVER_SENT)
        raise Unavailable(f"Stripe can't be reached: {cause}.", maybe_executed=writing and was_sent) from None
    except stripe.StripeError as problem:
        raise Unavailable(f"Stripe has failed: HTTP status {problem.http_status}.", maybe_executed=writing) from None
