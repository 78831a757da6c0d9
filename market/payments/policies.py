"""What payments do when something happens elsewhere, and when a deposit has come."""

from craton.application import Policy
from craton.domain import DomainError, Id, Name, Recorded
from market.ledger.api import Ledger
from market.ordering.api import OrderCancelled
from market.payments.api import PaymentId, PaymentProcessed, Payments, Purpose, RefundMadeElsewhere


class TakeBackPayment(Policy):
    """Whenever an order is cancelled, the buyer gets his money back."""

    def __init__(self, payments: Payments) -> None:
        self._payments = payments

    async def react(self, event: Recorded[OrderCancelled]) -> None:
        await self._payments.take_back(Id(event.subject))


class EmptyWallet(Policy):
    """Whenever a deposit is given back at the gateway itself, it leaves the wallet; if that can't be, it is parked."""

    def __init__(self, ledger: Ledger, payments: Payments) -> None:
        self._ledger = ledger
        self._payments = payments

    async def react(self, event: Recorded[RefundMadeElsewhere]) -> None:
        payment = await self._payments.payment(PaymentId(event.subject))
        if payment.purpose is Purpose.DEPOSIT:
            await self._ledger.withdraw_from_wallet(Name(payment.payer), event.data.amount)


class FillWallet(Policy):
    """Whenever a deposit is paid, it is in the wallet, or goes back if that doesn't take it."""

    def __init__(self, ledger: Ledger, payments: Payments) -> None:
        self._ledger = ledger
        self._payments = payments

    async def react(self, event: Recorded[PaymentProcessed]) -> None:
        if event.data.purpose is not Purpose.DEPOSIT:
            return
        try:
            await self._ledger.deposit_to_wallet(Name(event.data.payer), event.data.amount)
        except DomainError as refusal:
            if refusal.temporary:
                raise
            await self._payments.return_deposit(PaymentId(event.subject))
