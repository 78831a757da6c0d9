"""Which URL is which method of payments' API."""

from craton.application import Routes, get, only, post, public
from market.payments.api import Payments
from market.payments.webhooks import stripe_webhook

routes = Routes(
    post("/v2/payments", Payments.start, status=201, location="/v2/payments/{id}"),
    get("/v2/payments", Payments.payments),
    get("/v2/payments/{payment}", Payments.payment),
    post("/v2/payments/{payment}/refunds", Payments.refund, status=202, access=only("admin")),
    post("/v2/checkout-sessions", Payments.open_page, status=303, location="{url}"),
    post("/v2/stripe/webhooks", stripe_webhook, status=204, access=public),
    post("/v2/wallet/deposit", Payments.deposit, status=202, location="/v2/payments/{id}", caller="payer"),
)
