"""The settings of payments."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from craton.application import Settings, WiringError
from craton.domain import Secret
from market.payments.domain import Limits

TEST_KEY_PREFIXES = ("sk_test_", "rk_test_")
URL = r"^https?://[^\s/]+"


class PaymentsSettings(Settings):
    def unfit_for_production(self) -> Iterator[str]:
        if self.stripe_api_key is None:
            yield (
                "CRATON_PAYMENTS_STRIPE_API_KEY isn't set: payments would run in a sandbox, and anybody could fill a "
                "wallet without paying."
            )
        elif self.stripe_api_key.reveal().startswith(TEST_KEY_PREFIXES):
            yield "CRATON_PAYMENTS_STRIPE_API_KEY is a test key, with which no money is taken."

    stripe_api_key: Annotated[
        Secret | None,
        Meta(description="Stripe's secret key; without it, payments run in the sandbox and no money moves"),
    ] = None
    stripe_webhook_secret: Annotated[
        Secret | None,
        Meta(description="the secret with which Stripe signs its webhooks; without it, every webhook is refused"),
    ] = None
    stripe_url: Annotated[str, Meta(pattern=URL, description="the address of Stripe's API")] = "https://api.stripe.com"
    success_url: Annotated[
        str, Meta(pattern=URL, description="where the hosted page sends the payer after the payment")
    ] = "http://127.0.0.1:8000/docs"
    cancel_url: Annotated[
        str, Meta(pattern=URL, description="where the hosted page sends the payer if the payer cancels")
    ] = "http://127.0.0.1:8000/docs"
    limits: Annotated[
        str,
        Meta(
            description="the largest amount of one payment, by currency, such as EUR=5000,JPY=500000; for other "
            "currencies 10,000, or 1,000,000 if they have no minor unit"
        ),
    ] = ""
    patience: Annotated[
        int, Meta(ge=1, le=86_400, description="after so many seconds a payment that has not succeeded is given up")
    ] = 900


def read_limits(settings: PaymentsSettings) -> Limits:
    """The limits that the settings say. Raises `WiringError` if they can't be read."""
    try:
        return Limits.read(settings.limits)
    except ValueError as problem:
        raise WiringError(f"CRATON_PAYMENTS_LIMITS can't be used: {problem}") from None
