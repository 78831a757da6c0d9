"""What payments do. Each payment is charged by a process of its own, whose result settles it."""

from datetime import timedelta

from craton.application import Page, Paging, Repository, Sagas, View, narrow, now, permit, schedule
from craton.domain import Currency, Id, Money, Name, Secret, Text
from market.payments import domain
from market.payments.api import Payment, PaymentPage, Payments, StartedPayment
from market.payments.events import (
    CardMissing,
    Means,
    Notice,
    NoticeId,
    NoticeReceived,
    NotPaidInBrowser,
    PaidAgain,
    PaymentFailed,
    PaymentId,
    PaymentNotFound,
    PaymentOver,
    PaymentRequested,
    PaymentStatus,
    Purpose,
    RefundId,
    RefundRequested,
    Standing,
    WrongAmount,
)
from market.payments.ports import Gateway
from market.payments.sagas import CallOff, CardCharge, Refunding, WalletCharge
from market.payments.settings import PaymentsSettings


class PaymentsService(Payments):
    def __init__(
        self,
        payments: Repository[domain.Payment],
        notices: Repository[domain.GatewayNotice],
        rows: View[Payment],
        card_charges: Sagas[CardCharge],
        wallet_charges: Sagas[WalletCharge],
        call_offs: Sagas[CallOff],
        refunds: Sagas[Refunding],
        gateway: Gateway,
        settings: PaymentsSettings,
        limits: domain.Limits,
    ) -> None:
        self._payments = payments
        self._notices = notices
        self._rows = rows
        self._card_charges = card_charges
        self._wallet_charges = wallet_charges
        self._call_offs = call_offs
        self._refunds = refunds
        self._gateway = gateway
        self._patience = timedelta(seconds=settings.patience)
        self._limits = limits

    async def request(self, order: Id, payer: Id, amount: Money, means: Means, method: Name | None = None) -> PaymentId:
        id = PaymentId.derived(order)
        payment = await self._payments.find(id)
        if payment is None:
            payment = domain.Payment.request(
                id, order, payer, amount, Purpose.ORDER, means, method or None, self._limits
            )
            self._payments.add(payment)
            self._start_processes(payment)
        elif payment.status is PaymentStatus.FAILED:
            raise PaymentOver(status=payment.status)
        return id

    async def start(self, order: Id, amount: Money | None = None) -> StartedPayment:
        payment = await self._for_browser(order, amount)
        # No money moves before the payer confirms. An intent that is announced again stays the same.
        intent = await self._gateway.announce(payment.id, payment.order, payment.amount)
        payment.announce(intent.reference)
        return StartedPayment(
            id=payment.id,
            client_secret=Secret(intent.client_secret),
            status=payment.status,
            amount=payment.amount,
        )

    async def open_page(self, order: Id) -> PaymentPage:
        payment = await self._for_browser(order, None)
        return PaymentPage(url=await self._gateway.page(payment.id, payment.order, payment.amount))

    async def deposit(self, payer: Id, money: Money, payment_method: Name) -> PaymentId:
        if not payment_method:
            raise CardMissing()
        id = PaymentId.new()
        payment = domain.Payment.request(
            id, id, payer, money, Purpose.DEPOSIT, Means.CARD, payment_method, self._limits
        )
        self._payments.add(payment)
        self._start_processes(payment)
        return id

    async def settle(self, payment: PaymentId, standing: Standing, reference: str, reason: Text) -> None:
        found = await self._requested_payment(payment)
        found.settle(standing, reason, reference, RefundId.new())
        self._start_processes(found)

    async def give_up(self, payment: PaymentId) -> None:
        found = await self._requested_payment(payment)
        found.give_up(Text("timed out"))
        self._start_processes(found)

    async def refund(self, payment: PaymentId, amount: Money | None = None) -> RefundId:
        found, id = await self._requested_payment(payment), RefundId.new()
        found.refund(id, amount)
        self._start_processes(found)
        return id

    async def take_back(self, order: Id) -> None:
        id = PaymentId.derived(order)
        payment = await self._payments.find(id)
        if payment is None:
            self._payments.add(domain.Payment.cancel_in_advance(id, order))
            return
        payment.take_back(RefundId.new())
        self._start_processes(payment)

    async def finish_refund(self, payment: PaymentId, refund: RefundId, amount: Money) -> None:
        (await self._requested_payment(payment)).finish_refund(refund, amount)

    async def receive_notice(self, notice: Notice) -> None:
        id = NoticeId.derived(notice.id)
        if await self._notices.find(id) is not None:
            return
        outcome = notice.outcome
        fact = NoticeReceived(
            type=notice.type,
            payment=notice.payment,
            standing=None if outcome is None else outcome.standing,
            reason="" if outcome is None else outcome.reason,
        )
        self._notices.add(domain.GatewayNotice.begin(id, fact))
        payment = await self._payment_of(notice)
        if payment is None or payment.cancelled_in_advance:
            return
        _learn(payment, notice)
        self._start_processes(payment)

    async def return_deposit(self, payment: PaymentId) -> None:
        found = await self._requested_payment(payment)
        found.return_deposit(RefundId.new())
        self._start_processes(found)

    async def limit(self, currency: Currency) -> Money:
        return self._limits.of(currency)

    async def payment(self, payment: PaymentId) -> Payment:
        found = await self._rows.get(payment)
        permit(found.payer, "admin")
        return found

    async def payments(
        self, *, order: Id | None = None, payer: Id | None = None, paging: Paging = Paging()
    ) -> Page[Payment]:
        whose = narrow(payer, "admin")
        return await self._rows.page(order_id=order, payer=whose, order="-created_at", paging=paging)

    async def _requested_payment(self, id: PaymentId) -> domain.Payment:
        """The payment. Raises `PaymentNotFound` also if it was cancelled before it was requested."""
        payment = await self._payments.get(id)
        if payment.cancelled_in_advance:
            raise PaymentNotFound(id=id)
        return payment

    async def _for_browser(self, order: Id, amount: Money | None) -> domain.Payment:
        """The payment of an order that is paid in the browser. Raises `NotPaidInBrowser` or `PaymentOver`."""
        payment = await self._payments.find(PaymentId.derived(order))
        if payment is None or payment.cancelled_in_advance:
            raise NotPaidInBrowser()
        permit(payment.payer, "admin")
        payment.require_browser()
        if amount is not None and amount != payment.amount:
            raise WrongAmount(total=payment.amount)
        return payment

    async def _payment_of(self, notice: Notice) -> domain.Payment | None:
        """The payment that a notice is about; None if we don't know it."""
        if notice.payment is None and notice.reference:
            found = await self._rows.find(charge=notice.reference)
            return None if found is None else await self._payments.find(found.id)
        try:
            return await self._payments.find(PaymentId(notice.payment or ""))
        except ValueError:
            return None

    def _start_processes(self, payment: domain.Payment) -> None:
        """Start the processes that follow from what was recorded."""
        for fact in payment.recorded:
            match fact:
                case PaymentRequested():
                    schedule(now() + self._patience, Payments.give_up, payment=payment.id)
                    self._charge(payment)
                case PaymentFailed() if payment.announced:
                    off = CallOff(payment=payment.id, reference=payment.announced)
                    self._call_offs.start(off, id=RefundId.new())
                case RefundRequested(refund=refund, amount=amount):
                    self._give_back(payment, refund, amount, payment.reference)
                case PaidAgain(refund=refund, reference=reference):
                    self._give_back(payment, refund, payment.amount, reference)

    def _charge(self, payment: domain.Payment) -> None:
        if payment.means is Means.WALLET:
            hold = WalletCharge(payment=payment.id, payer=payment.payer, amount=payment.amount)
            self._wallet_charges.start(hold, id=payment.id)
        elif payment.method is not None:
            charge = CardCharge(payment=payment.id, order=payment.order, amount=payment.amount, method=payment.method)
            self._card_charges.start(charge, id=payment.id)

    def _give_back(self, payment: domain.Payment, refund: RefundId, amount: Money, reference: str) -> None:
        refunding = Refunding(
            payment=payment.id,
            refund=refund,
            amount=amount,
            reference=reference,
            from_wallet=payment.means is Means.WALLET,
        )
        self._refunds.start(refunding, id=refund)


def _learn(payment: domain.Payment, notice: Notice) -> None:
    """Record with a payment what a notice reports about it."""
    outcome, failed, dispute = notice.outcome, notice.failed_refund, notice.dispute
    if outcome is not None:
        payment.settle(outcome.standing, Text(outcome.reason), notice.reference, RefundId.new())
    if notice.returned is not None:
        payment.learn_returned(notice.returned, RefundId.derived(notice.id))
    if failed is not None:
        payment.learn_failed_refund(_refund_id(failed.refund), failed.amount, failed.reason)
    if dispute is not None:
        payment.learn_dispute(dispute.id, dispute.amount, dispute.reason)
        if dispute.lost is not None:
            payment.learn_end_of_dispute(dispute.id, lost=dispute.lost)


def _refund_id(text: str) -> RefundId | None:
    """Our id of a refund; None if the refund was made at the gateway itself."""
    try:
        return RefundId(text)
    except ValueError:
        return None
