"""What payments can be told from outside."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from craton.application import Settings
from craton.domain import Secret

TEST_KEY = ("sk_test_", "rk_test_")
URL = r"^https?://[^\s/]+"


class PaymentsSettings(Settings):
    def unfit_for_production(self) -> Iterator[str]:
        if self.stripe_api_key is None:
            yield (
                "CRATON_PAYMENTS_STRIPE_API_KEY isn't set: payments would be played in a sandbox, whose cards fill "
                "anybody's wallet."
            )
        elif self.stripe_api_key.reveal().startswith(TEST_KEY):
            yield "CRATON_PAYMENTS_STRIPE_API_KEY is a key for trying out, with which no money is taken."

    stripe_api_key: Annotated[
        Secret | None, Meta(description="Stripe's secret key; without it the sandbox takes the money, which is none")
    ] = None
    stripe_webhook_secret: Annotated[
        Secret | None, Meta(description="what Stripe signs its webhooks with; without it none is believed")
    ] = None
    stripe_url: Annotated[str, Meta(pattern=URL, description="where Stripe's API is")] = "https://api.stripe.com"
    success_url: Annotated[
        str, Meta(pattern=URL, description="where the payer goes from the hosted page when he has paid")
    ] = "http://127.0.0.1:8000/docs"
    cancel_url: Annotated[str, Meta(pattern=URL, description="where he goes when he hasn't")] = (
        "http://127.0.0.1:8000/docs"
    )
    limits: Annotated[
        str,
        Meta(
            description="the most that is paid at once, by currency, such as EUR=5000,JPY=500000; "
            "of others 10,000, and 1,000,000 of those without minor units"
        ),
    ] = ""
    patience: Annotated[
        int, Meta(ge=1, le=86_400, description="seconds until a payment that hasn't come about is given up")
    ] = 900
