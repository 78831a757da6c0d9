"""What payments do when an order is cancelled, and when a deposit is paid or given back."""

from craton.application import Policy
from craton.domain import DomainError, Id, Name, Recorded
from market.ledger.api import Ledger
from market.ordering.events import OrderCancelled
from market.payments.api import Payments
from market.payments.events import PaymentId, PaymentProcessed, Purpose, RefundMadeElsewhere


class TakeBackPayment(Policy):
    """Whenever an order is cancelled, the buyer gets the money back."""

    async def react(self, event: Recorded[OrderCancelled], payments: Payments) -> None:
        await payments.take_back(Id(event.subject))


class EmptyWallet(Policy):
    """Whenever a deposit is refunded at the gateway itself, the money leaves the wallet, or the event is parked."""

    async def react(self, event: Recorded[RefundMadeElsewhere], ledger: Ledger, payments: Payments) -> None:
        payment = await payments.payment(PaymentId(event.subject))
        if payment.purpose is Purpose.DEPOSIT:
            await ledger.withdraw_from_wallet(Name(payment.payer), event.data.amount)


class FillWallet(Policy):
    """Whenever a deposit is paid, the money goes into the wallet, or back to the card if the wallet refuses it."""

    async def react(self, event: Recorded[PaymentProcessed], ledger: Ledger, payments: Payments) -> None:
        if event.data.purpose is not Purpose.DEPOSIT:
            return
        try:
            await ledger.deposit_to_wallet(Name(event.data.payer), event.data.amount)
        except DomainError as refusal:
            if refusal.temporary:
                raise
            await payments.return_deposit(PaymentId(event.subject))
