"""Which gateway takes the money: Stripe or the sandbox, as the settings say."""

from collections.abc import Sequence

from craton.application import WiringError
from market.payments.adapters.sandbox import Sandbox
from market.payments.ports import Gateway
from market.payments.settings import PaymentsSettings


def choose_gateway(settings: PaymentsSettings) -> Gateway:
    """Stripe if its keys are set, else the sandbox. Raises `WiringError` if only one of the keys is set."""
    if settings.stripe_api_key is None and settings.stripe_webhook_secret is None:
        return Sandbox()
    if settings.stripe_api_key is None or settings.stripe_webhook_secret is None:
        raise WiringError(
            "CRATON_PAYMENTS_STRIPE_API_KEY and CRATON_PAYMENTS_STRIPE_WEBHOOK_SECRET must be set both, or neither"
        )
    from market.payments.adapters.stripe import StripeGateway  # noqa: PLC0415  (the library takes a second to load)

    return StripeGateway(
        settings.stripe_api_key.reveal(),
        settings.stripe_webhook_secret.reveal(),
        success_url=settings.success_url,
        cancel_url=settings.cancel_url,
        url=settings.stripe_url,
    )


async def warn_of_sandbox(gateway: Gateway) -> Sequence[str]:
    """Tell the operator at the start if no money is taken."""
    return ["Payments run in the sandbox: no money is taken."] if isinstance(gateway, Sandbox) else []
