"""Which URL is which method of payments' API."""

from starlette.requests import Request
from starlette.responses import Response

from craton.adapters.http import read_bounded
from craton.application import Routes, get, only, post, public
from market.payments.api import Payments
from market.payments.ports import Gateway

MAX_NOTICE_BYTES = 64 * 1024


async def stripe_webhook(request: Request, payments: Payments, gateway: Gateway) -> Response:
    """Be told by Stripe how a payment stands; a notice that comes again changes nothing."""
    body = await read_bounded(request, MAX_NOTICE_BYTES)
    await payments.note(gateway.read(body, request.headers.get("stripe-signature", "")))
    return Response(status_code=204)


routes = Routes(
    post("/v2/payments", Payments.start, status=201, location="/v2/payments/{id}"),
    get("/v2/payments", Payments.payments),
    get("/v2/payments/{payment}", Payments.payment),
    post("/v2/payments/{payment}/refunds", Payments.refund, status=202, access=only("admin")),
    post("/v2/checkout-sessions", Payments.open_page, status=303, location="{url}"),
    post("/v2/stripe/webhooks", stripe_webhook, status=204, access=public),
    post("/v2/wallet/deposit", Payments.deposit, status=202, location="/v2/payments/{id}", caller="payer"),
)
