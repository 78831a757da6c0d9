"""Stripe's webhooks, whose handler is written by hand because its signature is over the raw body."""

from starlette.requests import Request
from starlette.responses import Response

from craton.adapters.http import read_bounded
from market.payments.api import Payments
from market.payments.ports import Gateway

MAX_NOTICE_BYTES = 64 * 1024


async def stripe_webhook(request: Request, payments: Payments, gateway: Gateway) -> Response:
    """Receive a notice of Stripe about a payment. A notice that comes again changes nothing."""
    body = await read_bounded(request, MAX_NOTICE_BYTES)
    notice = gateway.read(body, request.headers.get("stripe-signature", ""))
    await payments.receive_notice(notice)
    return Response(status_code=204)
