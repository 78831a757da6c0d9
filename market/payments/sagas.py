"""The processes that take money and give it back. Each charge and each refund has a process of its own.

No process waits for another. Each begins with its pivot and therefore can't be compensated: it is tried until its
result is known. If the payment is given up meanwhile, money that the charge may have taken goes back.
"""

from craton.application import Saga, step
from craton.domain import DomainError, Id, Money, Name, Text
from market.ledger.api import Ledger
from market.ledger.events import TransferId
from market.payments.api import Payments
from market.payments.events import PaymentId, RefundId, Standing
from market.payments.ports import ChargeRefused, Gateway


class CardCharge(Saga):
    """Announce a charge, take the money, and report the result."""

    former_fingerprints = ("dd1bb831276d2063573958d08688f917",)  # when docstrings counted

    payment: PaymentId
    order: Id
    amount: Money
    method: str
    reference: str = ""
    standing: Standing = Standing.PROCESSING
    reason: str = ""

    @step(pivot=True)
    async def announce(self, payments: Payments, gateway: Gateway) -> None:
        if not (await payments.payment(self.payment)).status.is_open:
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
            is_wanted = (await payments.payment(self.payment)).status.is_open
            charge = gateway.charge(self.reference, self.method) if is_wanted else gateway.call_off(self.reference)
            outcome = await charge
        except ChargeRefused as refusal:
            self.standing, self.reason = Standing.FAILED, refusal.reason
        else:
            self.standing, self.reason = outcome.standing, outcome.reason

    @step(after=charge)
    async def report(self, payments: Payments) -> None:
        await payments.settle(self.payment, self.standing, self.reference, Text(self.reason))


class WalletCharge(Saga):
    """Hold the money in the payer's wallet, and report the result."""

    former_fingerprints = ("f459697083a8e91c2be0363b6115b7af",)  # when docstrings counted

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
    """Make sure that a charge that waits for its payer takes no more money. Money that it has taken goes back."""

    former_fingerprints = ("3fde9099c1efdaae9a62910c005c7029",)  # when docstrings counted

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
    """Give money back, and report it. If the gateway refuses, the process is stuck until an operator acts.

    An operator who has returned the money in another way skips the step. If the operator resolved the process instead,
    the refund would count as requested for ever.
    """

    former_fingerprints = ("4701dfd659b9c2a941ed4875c7f365e4",)  # when docstrings counted

    payment: PaymentId
    refund: RefundId
    amount: Money
    reference: str
    """The charge that has taken the money; for a payment from a wallet, the transfer."""
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
