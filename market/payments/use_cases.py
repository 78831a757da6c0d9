"""What payments do: each is asked for, charged by a process of its own, and settled by what that finds out."""

from datetime import timedelta

from craton.application import Page, Paging, Repository, Sagas, View, narrow, now, permit, schedule
from craton.domain import Currency, Id, Money, Name, Secret, Text
from market.payments.api import Payment, PaymentPage, Payments, StartedPayment
from market.payments.domain import GatewayNotice, Limits
from market.payments.domain import Payment as PaymentAggregate
from market.payments.events import (
    CardMissing,
    Means,
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
from market.payments.ports import Gateway, Notice
from market.payments.read_models import PaymentRow
from market.payments.sagas import CallOff, CardCharge, Refunding, WalletCharge
from market.payments.settings import PaymentsSettings


class PaymentsService(Payments):
    def __init__(
        self,
        payments: Repository[PaymentAggregate],
        notices: Repository[GatewayNotice],
        rows: View[PaymentRow],
        card_charges: Sagas[CardCharge],
        wallet_charges: Sagas[WalletCharge],
        call_offs: Sagas[CallOff],
        refunds: Sagas[Refunding],
        gateway: Gateway,
        settings: PaymentsSettings,
        limits: Limits,
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
            payment = PaymentAggregate.request(
                id, order, payer, amount, Purpose.ORDER, means, method or None, self._limits
            )
            self._payments.add(payment)
            self._set_off(payment)
        elif payment.status is PaymentStatus.FAILED:
            raise PaymentOver(status=payment.status)
        return id

    async def start(self, order: Id, amount: Money | None = None) -> StartedPayment:
        payment = await self._for_browser(order, amount)
        # No money moves before the payer confirms; an intent that is announced again is the same one.
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
        payment = PaymentAggregate.request(
            id, id, payer, money, Purpose.DEPOSIT, Means.CARD, payment_method, self._limits
        )
        self._payments.add(payment)
        self._set_off(payment)
        return id

    async def settle(self, payment: PaymentId, standing: Standing, reference: str, reason: Text) -> None:
        found = await self._known(payment)
        found.settle(standing, reason, reference, RefundId.new())
        self._set_off(found)

    async def give_up(self, payment: PaymentId) -> None:
        found = await self._known(payment)
        found.give_up(Text("timed out"))
        self._set_off(found)

    async def refund(self, payment: PaymentId, amount: Money | None = None) -> RefundId:
        found, id = await self._known(payment), RefundId.new()
        found.refund(id, amount)
        self._set_off(found)
        return id

    async def take_back(self, order: Id) -> None:
        id = PaymentId.derived(order)
        payment = await self._payments.find(id)
        if payment is None:
            self._payments.add(PaymentAggregate.forestall(id, order))
            return
        payment.take_back(RefundId.new())
        self._set_off(payment)

    async def finish_refund(self, payment: PaymentId, refund: RefundId, amount: Money) -> None:
        (await self._known(payment)).refunded_by(refund, amount)

    async def note(self, notice: Notice) -> None:
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
        self._notices.add(GatewayNotice.begin(id, fact))
        payment = await self._told_of(notice)
        if payment is None or payment.forestalled:
            return
        if outcome is not None:
            payment.settle(outcome.standing, Text(outcome.reason), notice.reference, RefundId.new())
        if notice.returned is not None:
            payment.learn_returned(notice.returned, RefundId.derived(notice.id))
        failed, dispute = notice.failed_refund, notice.dispute
        if failed is not None:
            payment.learn_failed_refund(_refund_id(failed.refund), failed.amount, failed.reason)
        if dispute is not None:
            payment.learn_dispute(dispute.id, dispute.amount, dispute.reason)
            if dispute.lost is not None:
                payment.learn_end_of_dispute(dispute.id, lost=dispute.lost)
        self._set_off(payment)

    async def return_deposit(self, payment: PaymentId) -> None:
        found = await self._known(payment)
        found.return_deposit(RefundId.new())
        self._set_off(found)

    async def limit(self, currency: Currency) -> Money:
        return self._limits.of(currency)

    async def payment(self, payment: PaymentId) -> Payment:
        row = await self._rows.find(payment)
        if row is None:
            raise PaymentNotFound(id=payment)
        permit(row.payer, "admin")
        return row.state

    async def payments(
        self, *, order: Id | None = None, payer: Id | None = None, paging: Paging = Paging()
    ) -> Page[Payment]:
        whose = narrow(payer, "admin")
        rows = await self._rows.page(order_id=order, payer=whose, order="-created_at", paging=paging)
        return rows.map(lambda row: row.state)

    async def _known(self, id: PaymentId) -> PaymentAggregate:
        """The payment. Raises `PaymentNotFound`, too, for one of which there is only that it was called off."""
        payment = await self._payments.get(id)
        if payment.forestalled:
            raise PaymentNotFound(id=id)
        return payment

    async def _for_browser(self, order: Id, amount: Money | None) -> PaymentAggregate:
        """The payment of an order that waits for its buyer to pay it in the browser."""
        payment = await self._payments.find(PaymentId.derived(order))
        if payment is None or payment.forestalled:
            raise NotPaidInBrowser()
        permit(payment.payer, "admin")
        payment.require_browser()
        if amount is not None and amount != payment.amount:
            raise WrongAmount(total=payment.amount)
        return payment

    async def _told_of(self, notice: Notice) -> PaymentAggregate | None:
        """The payment that a notice is about; None if it isn't one of ours."""
        if notice.payment is None and notice.reference:
            rows = await self._rows.page(charge=notice.reference, paging=Paging(1, 1))
            return await self._payments.find(rows.items[0].payment) if rows.items else None
        try:
            return await self._payments.find(PaymentId(notice.payment or ""))
        except ValueError:
            return None

    def _set_off(self, payment: PaymentAggregate) -> None:
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

    def _charge(self, payment: PaymentAggregate) -> None:
        if payment.means is Means.WALLET:
            hold = WalletCharge(payment=payment.id, payer=payment.payer, amount=payment.amount)
            self._wallet_charges.start(hold, id=payment.id)
        elif payment.method is not None:
            charge = CardCharge(payment=payment.id, order=payment.order, amount=payment.amount, method=payment.method)
            self._card_charges.start(charge, id=payment.id)

    def _give_back(self, payment: PaymentAggregate, refund: RefundId, amount: Money, reference: str) -> None:
        refunding = Refunding(
            payment=payment.id,
            refund=refund,
            amount=amount,
            reference=reference,
            from_wallet=payment.means is Means.WALLET,
        )
        self._refunds.start(refunding, id=refund)


def _refund_id(text: str) -> RefundId | None:
    """Our id of a refund, None if it isn't one of ours."""
    try:
        return RefundId(text)
    except ValueError:
        return None
