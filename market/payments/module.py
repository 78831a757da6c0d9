"""Payments' wiring."""

from collections.abc import Sequence

from craton.application import Module, WiringError
from market.payments.adapters.sandbox import Sandbox
from market.payments.api import Payments
from market.payments.domain import Limits
from market.payments.http import routes
from market.payments.policies import EmptyWallet, FillWallet, TakeBackPayment
from market.payments.ports import Gateway
from market.payments.read_models import PaymentList
from market.payments.sagas import CallOff, CardCharge, Refunding, WalletCharge
from market.payments.settings import PaymentsSettings
from market.payments.use_cases import PaymentsService


def read_limits(settings: PaymentsSettings) -> Limits:
    try:
        return Limits.read(settings.limits)
    except ValueError as problem:
        raise WiringError(f"CRATON_PAYMENTS_LIMITS can't be used: {problem}") from None


def choose_gateway(settings: PaymentsSettings) -> Gateway:
    """Stripe if there is a key for it, else the sandbox."""
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


async def start(gateway: Gateway) -> Sequence[str]:
    """Say so if no money is taken."""
    return ["Payments are played in a sandbox: no money is taken."] if isinstance(gateway, Sandbox) else []


payments = Module(
    "payments",
    api=Payments,
    service=PaymentsService,
    projections=[PaymentList],
    policies=[TakeBackPayment, FillWallet, EmptyWallet],
    sagas=[CardCharge, WalletCharge, CallOff, Refunding],
    routes=routes,
    settings=PaymentsSettings,
    provides={Gateway: choose_gateway, Limits: read_limits},
    start=start,
)
