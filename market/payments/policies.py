"""What payments do when something happens elsewhere, and when a deposit has come."""

from craton.application import Policy
from craton.domain import DomainError, Id, Name, Recorded
from market.ledger.api import Ledger
from market.ordering.api import OrderCancelled
from market.payments.api import PaymentId, PaymentProcessed, Payments, Purpose


class TakeBackPayment(Policy):
    """Whenever an order is cancelled, the buyer gets his money back."""

    def __init__(self, payments: Payments) -> None:
        self._payments = payments

    async def react(self, event: Recorded[OrderCancelled]) -> None:
        await self._payments.take_back(Id(event.subject))


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
