"""Payments' wiring."""

from craton.application import Module
from market.payments.adapters import choose_gateway, warn_of_sandbox
from market.payments.api import Payments
from market.payments.domain import Limits
from market.payments.http import routes
from market.payments.policies import EmptyWallet, FillWallet, TakeBackPayment
from market.payments.ports import Gateway
from market.payments.read_models import PaymentList
from market.payments.sagas import CallOff, CardCharge, Refunding, WalletCharge
from market.payments.settings import PaymentsSettings, read_limits
from market.payments.use_cases import PaymentsService

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
    start=warn_of_sandbox,
)
