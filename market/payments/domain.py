"""Payments: what is to be paid, how that stands, and what is given back."""

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
    PaymentDisputed,
    PaymentFailed,
    PaymentForestalled,
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

MOST_WITH_MINOR_UNITS: Final = "10000"
MOST_WITHOUT: Final = "1000000"
_LIMIT: Final = re.compile(r"\s*([A-Z]{3})\s*=\s*([0-9.]+)\s*", re.ASCII).fullmatch

OPEN = (PaymentStatus.REQUIRES_ACTION, PaymentStatus.PROCESSING)
PAID = (PaymentStatus.SUCCEEDED, PaymentStatus.PARTIALLY_REFUNDED)


class Limits:
    """The most that may be paid at once, by currency."""

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
        default = MOST_WITH_MINOR_UNITS if currency.exponent else MOST_WITHOUT
        return self._limits[currency] if currency in self._limits else Money.of(default, currency)

    def require_payable(self, amount: Money) -> None:
        """Raises `AmountNotPositive` or `AmountOverLimit`."""
        if not amount.positive:
            raise AmountNotPositive()
        if amount > self.of(amount.currency):
            raise AmountOverLimit(limit=self.of(amount.currency))


DEFAULT_LIMITS: Final = Limits()


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
    """Those that were opened, at the gateway; those that are closed; and those of them that were lost."""
    closed_disputes: tuple[str, ...] = ()
    lost_disputes: tuple[str, ...] = ()
    forestalled: bool = False
    """Whether it was called off before it was asked for, so that nothing else is known of it."""

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
        limits: Limits = DEFAULT_LIMITS,
    ) -> Self:
        limits.require_payable(amount)
        fact = PaymentRequested(order=order, payer=payer, amount=amount, purpose=purpose, means=means, method=method)
        return cls.begin(id, fact)

    @property
    def open(self) -> bool:
        return self.status in OPEN

    @property
    def refundable(self) -> Money:
        return self.amount - self.requested_refunds if self.status in PAID else Money.zero(self.currency)

    @property
    def references(self) -> tuple[str, ...]:
        """All charges that have taken money."""
        return (self.reference, *(again.reference for again in self.paid_again))

    @property
    def currency(self) -> Currency:
        return self.amount.currency

    def require_browser(self) -> None:
        """Raises `PaymentOver`, or `NotPaidInBrowser` if a card or the wallet is charged without the payer."""
        if self.means is Means.WALLET or self.method is not None:
            raise NotPaidInBrowser()
        if not self.open:
            raise PaymentOver(status=self.status)

    def announce(self, reference: str) -> None:
        if self.open and reference != self.announced:
            self.record(ChargeAnnounced(reference=reference, order=self.order))

    def settle(self, standing: Standing, reason: Text, reference: str, late: RefundId) -> None:
        """Learn how it stands with the gateway, in whatever order that is told.

        Money that comes when the payment was given up, or for the second time, goes back at once, as the refund `late`.
        Who pays in the browser, without having chosen a card here, may try another when one is declined.
        """
        match standing:
            case Standing.SUCCEEDED if self.open:
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
            case Standing.FAILED if self.open and (self.method is not None or self.means is Means.WALLET):
                self.record(PaymentFailed(order=self.order, payer=self.payer, reason=reason))
            case Standing.REQUIRES_ACTION:
                self.announce(reference)

    def give_up(self, reason: Text) -> None:
        """Nobody waits for it any more."""
        if self.open:
            self.record(PaymentFailed(order=self.order, payer=self.payer, reason=reason))

    def refund(self, id: RefundId, amount: Money | None = None) -> None:
        """Have money given back: so much, or all that is left."""
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
        """Give a deposit back that could not be put into the wallet."""
        if self.purpose is Purpose.DEPOSIT and self.refundable:
            self.record(RefundRequested(refund=id, amount=self.refundable))

    def learn_returned(self, total: Money, id: RefundId) -> None:
        """Learn how much the gateway has given back in all: what was not asked for here was given back there."""
        elsewhere = total - self.requested_refunds
        for failed in self.failed_refunds:  # it may tell of what had been given back before it came back
            elsewhere -= failed.amount
        if self.status in PAID and elsewhere.positive:
            self.record(RefundMadeElsewhere(refund=id, amount=elsewhere))
            self.refunded_by(id, elsewhere)

    def learn_failed_refund(self, id: RefundId | None, amount: Money, reason: str) -> None:
        """Learn that a refund has come back; one that was made elsewhere (None) is known by its amount only."""
        failed = {fact.refund for fact in self.failed_refunds}
        if id is None:
            made = [fact.refund for fact in self.elsewhere if fact.amount == amount and fact.refund not in failed]
            id = made[0] if made else None
        if id is not None and id not in failed and id in (*self.asked_refunds, *self.returned):
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
    def forestall(cls, id: PaymentId, order: Id) -> Self:
        """What comes late to ask for the money is refused."""
        return cls.begin(id, PaymentForestalled(order=order))

    def take_back(self, id: RefundId) -> None:
        """Undo it, however far it got."""
        if self.open:
            self.give_up(Text("called off"))
        elif self.status in PAID and self.refundable:
            self.refund(id)

    def refunded_by(self, id: RefundId, amount: Money) -> None:
        if any(again.refund == id for again in self.paid_again):
            self.record(PaidAgainReturned(order=self.order, payer=self.payer, refund=id, amount=amount))
            return
        if any(fact.refund == id for fact in self.failed_refunds):
            return  # it has come back before we could say that it was given back
        remaining = self.amount - self.refunded - amount
        self.record(PaymentRefunded(order=self.order, payer=self.payer, refund=id, amount=amount, remaining=remaining))

    def apply(
        self,
        event: PaymentRequested
        | PaymentForestalled
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
            case PaymentForestalled(order=order):
                self.order, self.status, self.forestalled = order, PaymentStatus.FAILED, True
            case ChargeAnnounced(reference=reference):
                self.announced, self.status = reference, PaymentStatus.REQUIRES_ACTION
            case PaymentProcessed(reference=reference) | PaymentCameLate(reference=reference):
                self.status, self.reference = PaymentStatus.SUCCEEDED, reference
            case PaymentFailed():
                self.status = PaymentStatus.FAILED
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
    """What a webhook has said, once, whatever it was."""

    def apply(self, event: NoticeReceived) -> None:
        """There is nothing to know of it but that it has come."""
