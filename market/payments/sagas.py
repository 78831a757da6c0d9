"""What goes on outside: money is taken, and given back. Each charge and each refund is a process of its own.

None of them waits for another. Each begins with its pivot, so that nobody can turn it round: it is tried until it is
known what came of it, and who gives a payment up in the meantime gets back what may have been taken.
"""

from craton.application import Saga, step
from craton.domain import DomainError, Id, Money, Name, Text
from market.ledger.api import Ledger
from market.ledger.events import TransferId
from market.payments.api import Payments
from market.payments.domain import OPEN
from market.payments.events import PaymentId, RefundId, Standing
from market.payments.ports import ChargeRefused, Gateway


class CardCharge(Saga):
    """Announce a charge, take the money, and say what came of it."""

    payment: PaymentId
    order: Id
    amount: Money
    method: str
    reference: str = ""
    standing: Standing = Standing.PROCESSING
    reason: str = ""

    @step(pivot=True)
    async def announce(self, payments: Payments, gateway: Gateway) -> None:
        if (await payments.payment(self.payment)).status not in OPEN:
            return
        try:
            intent = await gateway.announce(self.payment, self.order, self.amount)
        except ChargeRefused as refusal:
            self.standing, self.reason = Standing.FAILED, refusal.reason
        else:
            self.reference = intent.reference

    @step(after=announce)
    async def charge(self, payments: Payments, gateway: Gateway) -> None:
        if not self.reference:
            return
        try:
            wanted = (await payments.payment(self.payment)).status in OPEN
            charge = gateway.charge(self.reference, self.method) if wanted else gateway.call_off(self.reference)
            outcome = await charge
        except ChargeRefused as refusal:
            self.standing, self.reason = Standing.FAILED, refusal.reason
        else:
            self.standing, self.reason = outcome.standing, outcome.reason

    @step(after=charge)
    async def report(self, payments: Payments) -> None:
        await payments.settle(self.payment, self.standing, self.reference, Text(self.reason))


class WalletCharge(Saga):
    """Hold the money in the payer's wallet, and say what came of it."""

    payment: PaymentId
    payer: Id
    amount: Money
    standing: Standing = Standing.SUCCEEDED
    reason: str = ""

    @step(pivot=True)
    async def hold(self, ledger: Ledger) -> None:
        try:
            await ledger.hold_in_wallet(Name(self.payer), self.amount, TransferId(self.payment))
        except DomainError as refusal:
            self.standing, self.reason = Standing.FAILED, refusal.code

    @step(after=hold)
    async def report(self, payments: Payments) -> None:
        await payments.settle(self.payment, self.standing, self.payment, Text(self.reason))


class CallOff(Saga):
    """See to it that a charge that waits for its payer takes no money any more; what it has taken goes back."""

    payment: PaymentId
    reference: str
    standing: Standing = Standing.PROCESSING
    reason: str = ""

    @step(pivot=True)
    async def call_off(self, gateway: Gateway) -> None:
        outcome = await gateway.call_off(self.reference)
        self.standing, self.reason = outcome.standing, outcome.reason

    @step(after=call_off)
    async def report(self, payments: Payments) -> None:
        await payments.settle(self.payment, self.standing, self.reference, Text(self.reason))


class Refunding(Saga):
    """Give money back, and say so. A gateway that refuses leaves it stuck.

    Who has settled it otherwise skips the step: resolved, its money would count as asked for ever after.
    """

    payment: PaymentId
    refund: RefundId
    amount: Money
    reference: str
    """The charge that has taken it; of a wallet's payment, the transfer."""
    from_wallet: bool

    @step(pivot=True)
    async def give_back(self, gateway: Gateway, ledger: Ledger) -> None:
        if self.from_wallet:
            await ledger.return_to_wallet(TransferId(self.payment), self.amount)
        else:
            await gateway.refund(self.reference, self.refund, self.amount)

    @step(after=give_back)
    async def report(self, payments: Payments) -> None:
        await payments.finish_refund(self.payment, self.refund, self.amount)
