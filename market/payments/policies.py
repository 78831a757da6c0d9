"""What payments do when something happens elsewhere, and when a deposit has come."""

from craton.application import Policy
from craton.domain import DomainError, Id, Name, Recorded
from market.ledger.api import Ledger
from market.ordering.events import OrderCancelled
from market.payments.api import Payments
from market.payments.events import PaymentId, PaymentProcessed, Purpose, RefundMadeElsewhere


class TakeBackPayment(Policy):
    """Whenever an order is cancelled, the buyer gets his money back."""

    async def react(self, event: Recorded[OrderCancelled], payments: Payments) -> None:
        await payments.take_back(Id(event.subject))


class EmptyWallet(Policy):
    """Whenever a deposit is given back at the gateway itself, it leaves the wallet; if that can't be, it is parked."""

    async def react(self, event: Recorded[RefundMadeElsewhere], ledger: Ledger, payments: Payments) -> None:
        payment = await payments.payment(PaymentId(event.subject))
        if payment.purpose is Purpose.DEPOSIT:
            await ledger.withdraw_from_wallet(Name(payment.payer), event.data.amount)


class FillWallet(Policy):
    """Whenever a deposit is paid, it is in the wallet, or goes back if that doesn't take it."""

    async def react(self, event: Recorded[PaymentProcessed], ledger: Ledger, payments: Payments) -> None:
        if event.data.purpose is not Purpose.DEPOSIT:
            return
        try:
            await ledger.deposit_to_wallet(Name(event.data.payer), event.data.amount)
        except DomainError as refusal:
            if refusal.temporary:
                raise
            await payments.return_deposit(PaymentId(event.subject))
