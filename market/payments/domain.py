"""Payments: what has to be paid, how each payment stands, and what is given back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Self

from craton.domain import Aggregate, Currency, Id, Money, Text
from market.payments.events import (
    AmountNotPositive,
    AmountOverLimit,
    ChargeAnnounced,
    DepositNotRefundable,
    DisputeClosed,
    Means,
    NothingToRefund,
    NoticeId,
    NoticeReceived,
    NotPaidInBrowser,
    PaidAgain,
    PaidAgainReturned,
    PaymentCameLate,
    PaymentCancelledInAdvance,
    PaymentDisputed,
    PaymentFailed,
    PaymentId,
    PaymentNotFound,
    PaymentOver,
    PaymentProcessed,
    PaymentRefunded,
    PaymentRequested,
    PaymentStatus,
    Purpose,
    RefundExceeded,
    RefundFailed,
    RefundId,
    RefundMadeElsewhere,
    RefundRequested,
    Standing,
)


class Payment(Aggregate[PaymentId]):
    not_found = PaymentNotFound

    order: Id
    payer: Id
    amount: Money
    purpose: Purpose
    means: Means
    method: str | None
    status: PaymentStatus
    requested_refunds: Money
    refunded: Money
    reason: Text = Text("")
    """Why the payment failed."""
    announced: str = ""
    """The charge that waits for the payer."""
    reference: str = ""
    """The charge that has taken the money."""
    paid_again: tuple[PaidAgain, ...] = ()
    asked_refunds: tuple[RefundId, ...] = ()
    returned: tuple[RefundId, ...] = ()
    """The refunds that have reached the payer."""
    elsewhere: tuple[RefundMadeElsewhere, ...] = ()
    failed_refunds: tuple[RefundFailed, ...] = ()
    disputes: tuple[str, ...] = ()
    """All disputes, by the gateway's ids."""
    closed_disputes: tuple[str, ...] = ()
    lost_disputes: tuple[str, ...] = ()
    cancelled_in_advance: bool = False
    """Whether it was cancelled before it was requested. Of such a payment only the order is known."""

    @classmethod
    def request(
        cls,
        id: PaymentId,
        order: Id,
        payer: Id,
        amount: Money,
        purpose: Purpose,
        means: Means,
        method: str | None,
        limits: Limits | None = None,
    ) -> Self:
        (limits or Limits()).require_payable(amount)
        fact = PaymentRequested(order=order, payer=payer, amount=amount, purpose=purpose, means=means, method=method)
        return cls.begin(id, fact)

    @property
    def refundable(self) -> Money:
        return self.amount - self.requested_refunds if self.status.holds_money else Money.zero(self.currency)

    @property
    def disputed(self) -> bool:
        """Whether a dispute is open, or one was lost."""
        return bool(self.lost_disputes) or not set(self.disputes) <= set(self.closed_disputes)

    @property
    def references(self) -> tuple[str, ...]:
        """All charges that have taken money."""
        return (self.reference, *(again.reference for again in self.paid_again))

    @property
    def currency(self) -> Currency:
        return self.amount.currency

    @property
    def is_in_browser(self) -> bool:
        """Whether the payer chooses a card in the browser."""
        return self.means is Means.CARD and self.method is None

    def require_browser(self) -> None:
        """Raises `NotPaidInBrowser` if the payer has nothing to do, and `PaymentOver` if the payment has ended."""
        if not self.is_in_browser:
            raise NotPaidInBrowser()
        if not self.status.is_open:
            raise PaymentOver(status=self.status)

    def announce(self, reference: str) -> None:
        if self.status.is_open and reference != self.announced:
            self.record(ChargeAnnounced(reference=reference, order=self.order))

    def settle(self, standing: Standing, reason: Text, reference: str, late: RefundId) -> None:
        """Record how the charge stands with the gateway. Reports may come in any order.

        Money that comes after the payment has failed, or for the second time, goes back at once, as the refund `late`.
        In the browser the payer may try another card after one was declined.
        """
        match standing:
            case Standing.SUCCEEDED if self.status.is_open:
                self.record(
                    PaymentProcessed(
                        order=self.order,
                        payer=self.payer,
                        amount=self.amount,
                        purpose=self.purpose,
                        reference=reference,
                    )
                )
            case Standing.SUCCEEDED if self.status is PaymentStatus.FAILED:
                self.record(PaymentCameLate(reference=reference))
                self.record(RefundRequested(refund=late, amount=self.amount))
            case Standing.SUCCEEDED if self.reference and reference not in ("", *self.references):
                self.record(PaidAgain(refund=late, reference=reference))
            case Standing.FAILED if self.status.is_open and not self.is_in_browser:
                self.record(PaymentFailed(order=self.order, payer=self.payer, reason=reason))
            case Standing.REQUIRES_ACTION:
                self.announce(reference)

    def give_up(self, reason: Text) -> None:
        """Let the payment fail if it is still open."""
        if self.status.is_open:
            self.record(PaymentFailed(order=self.order, payer=self.payer, reason=reason))

    def refund(self, id: RefundId, amount: Money | None = None) -> None:
        """Give back an amount, or all that is left."""
        if self.purpose is Purpose.DEPOSIT:
            raise DepositNotRefundable()
        if not self.refundable:
            raise NothingToRefund(status=self.status)
        amount = self.refundable if amount is None else amount
        if not amount.positive:
            raise AmountNotPositive()
        if amount > self.refundable:
            raise RefundExceeded(refundable=self.refundable)
        self.record(RefundRequested(refund=id, amount=amount))

    def return_deposit(self, id: RefundId) -> None:
        """Give back a deposit that the wallet did not accept."""
        if self.purpose is Purpose.DEPOSIT and self.refundable:
            self.record(RefundRequested(refund=id, amount=self.refundable))

    def learn_returned(self, total: Money, id: RefundId) -> None:
        """Record how much the gateway has given back in all. What was not requested here was refunded elsewhere."""
        elsewhere = total - self.requested_refunds
        for failed in self.failed_refunds:  # the total may still count refunds that have failed since
            elsewhere -= failed.amount
        if self.status.holds_money and elsewhere.positive:
            self.record(RefundMadeElsewhere(refund=id, amount=elsewhere))
            self.finish_refund(id, elsewhere)

    def learn_failed_refund(self, id: RefundId | None, amount: Money, reason: str) -> None:
        """Record that a refund could not be paid out. A refund made elsewhere (None) is recognised by its amount."""
        failed = {fact.refund for fact in self.failed_refunds}
        if id is None:
            made = [fact.refund for fact in self.elsewhere if fact.amount == amount and fact.refund not in failed]
            id = made[0] if made else None
        is_known = id in (*self.asked_refunds, *self.returned)
        if id is not None and is_known and id not in failed:
            self.record(RefundFailed(refund=id, amount=amount, reason=reason))

    def learn_dispute(self, dispute: str, amount: Money, reason: str) -> None:
        if dispute not in self.disputes:
            self.record(PaymentDisputed(dispute=dispute, amount=amount, reason=reason))

    def learn_end_of_dispute(self, dispute: str, *, lost: bool) -> None:
        if dispute not in self.closed_disputes:
            others = set(self.disputes) - {dispute, *self.closed_disputes}
            disputed = lost or bool(self.lost_disputes or others)
            self.record(DisputeClosed(dispute=dispute, lost=lost, disputed=disputed))

    @classmethod
    def cancel_in_advance(cls, id: PaymentId, order: Id) -> Self:
        """Cancel a payment before it is requested: a request that comes later is refused."""
        return cls.begin(id, PaymentCancelledInAdvance(order=order))

    def take_back(self, id: RefundId) -> None:
        """Undo the payment, however far it got."""
        if self.status.is_open:
            self.give_up(Text("called off"))
        elif self.status.holds_money and self.refundable:
            self.refund(id)

    def finish_refund(self, id: RefundId, amount: Money) -> None:
        """Record that a refund has reached the payer."""
        if any(again.refund == id for again in self.paid_again):
            self.record(PaidAgainReturned(order=self.order, payer=self.payer, refund=id, amount=amount))
            return
        if any(fact.refund == id for fact in self.failed_refunds):
            return  # the gateway has reported its failure first
        remaining = self.amount - self.refunded - amount
        self.record(PaymentRefunded(order=self.order, payer=self.payer, refund=id, amount=amount, remaining=remaining))

    def apply(
        self,
        event: PaymentRequested
        | PaymentCancelledInAdvance
        | ChargeAnnounced
        | PaymentProcessed
        | PaymentFailed
        | PaymentCameLate
        | PaidAgain
        | PaidAgainReturned
        | RefundRequested
        | RefundMadeElsewhere
        | PaymentRefunded
        | RefundFailed
        | PaymentDisputed
        | DisputeClosed,
    ) -> None:
        match event:
            case PaymentRequested(order=order, payer=payer, amount=amount, purpose=purpose, means=means, method=method):
                self.order, self.payer, self.amount = order, payer, amount
                self.purpose, self.means, self.method = purpose, means, method
                self.requested_refunds = self.refunded = Money.zero(amount.currency)
                self.status = event.status
            case PaymentCancelledInAdvance(order=order):
                self.order, self.status, self.cancelled_in_advance = order, PaymentStatus.FAILED, True
            case ChargeAnnounced(reference=reference):
                self.announced, self.status = reference, PaymentStatus.REQUIRES_ACTION
            case PaymentProcessed(reference=reference) | PaymentCameLate(reference=reference):
                self.status, self.reference = PaymentStatus.SUCCEEDED, reference
            case PaymentFailed(reason=reason):
                self.status, self.reason = PaymentStatus.FAILED, reason
            case PaidAgain():
                self.paid_again = (*self.paid_again, event)
            case RefundRequested(refund=refund, amount=amount):
                self.requested_refunds += amount
                self.asked_refunds = (*self.asked_refunds, refund)
            case RefundMadeElsewhere(amount=amount):
                self.requested_refunds += amount
                self.elsewhere = (*self.elsewhere, event)
            case PaymentRefunded(refund=refund, amount=amount, remaining=remaining):
                self.refunded += amount
                self.returned = (*self.returned, refund)
                self.status = PaymentStatus.PARTIALLY_REFUNDED if remaining else PaymentStatus.REFUNDED
            case RefundFailed(refund=refund, amount=amount):
                self.requested_refunds -= amount
                self.failed_refunds = (*self.failed_refunds, event)
                if refund in self.returned:
                    self.refunded -= amount
                    self.returned = tuple(id for id in self.returned if id != refund)
                    self.status = PaymentStatus.PARTIALLY_REFUNDED if self.refunded else PaymentStatus.SUCCEEDED
            case PaymentDisputed(dispute=dispute):
                self.disputes = (*self.disputes, dispute)
            case DisputeClosed(dispute=dispute, lost=lost):
                self.closed_disputes = (*self.closed_disputes, dispute)
                self.lost_disputes = (*self.lost_disputes, dispute) if lost else self.lost_disputes


class GatewayNotice(Aggregate[NoticeId]):
    """A notice that has been received, so that it counts only once."""

    def apply(self, event: NoticeReceived) -> None:
        """Nothing needs to be known of a notice but that it has come."""


DEFAULT_MAX_WITH_MINOR_UNITS: Final = "10000"
DEFAULT_MAX_WITHOUT_MINOR_UNITS: Final = "1000000"
_LIMIT: Final = re.compile(r"\s*([A-Z]{3})\s*=\s*([0-9.]+)\s*", re.ASCII).fullmatch


class Limits:
    """The largest amount that one payment may have, by currency."""

    def __init__(self, limits: Mapping[Currency, Money] | None = None) -> None:
        self._limits = limits or {}

    @classmethod
    def read(cls, text: str) -> Self:
        """Read `EUR=5000, JPY=2000000`. Raises `ValueError`."""
        limits: dict[Currency, Money] = {}
        for part in filter(None, text.split(",")):
            found = _LIMIT(part)
            if found is None:
                raise ValueError(f"{part.strip()!r} isn't such as EUR=10000")
            limits[Currency(found[1])] = Money.of(found[2], found[1])
        return cls(limits)

    def of(self, currency: Currency) -> Money:
        default = DEFAULT_MAX_WITH_MINOR_UNITS if currency.exponent else DEFAULT_MAX_WITHOUT_MINOR_UNITS
        return self._limits[currency] if currency in self._limits else Money.of(default, currency)

    def require_payable(self, amount: Money) -> None:
        """Raises `AmountNotPositive` or `AmountOverLimit`."""
        if not amount.positive:
            raise AmountNotPositive()
        if amount > self.of(amount.currency):
            raise AmountOverLimit(limit=self.of(amount.currency))
