"""What payments show."""

from datetime import datetime

from msgspec.structs import replace

from craton.application import Index, Key, Projection, Row, Rows
from craton.domain import Id, Money, Recorded, Text
from market.payments.api import Payment
from market.payments.domain import (
    ChargeAnnounced,
    DisputeClosed,
    PaymentCameLate,
    PaymentDisputed,
    PaymentFailed,
    PaymentId,
    PaymentProcessed,
    PaymentRefunded,
    PaymentRequested,
    PaymentStatus,
    RefundFailed,
)


class PaymentRow(Row):
    payment: Key[PaymentId]
    order_id: Index[Id]
    payer: Index[Id]
    created_at: Index[datetime]
    charge: Index[str]
    """What the gateway calls it, once it has taken the money."""
    state: Payment


class PaymentList(Projection):
    """All payments. Inline: who has just paid sees it."""

    version = 2
    inline = True
    payments: Rows[PaymentRow]

    def project(
        self,
        event: Recorded[
            PaymentRequested
            | ChargeAnnounced
            | PaymentProcessed
            | PaymentFailed
            | PaymentCameLate
            | PaymentRefunded
            | RefundFailed
            | PaymentDisputed
            | DisputeClosed
        ],
    ) -> None:
        id = PaymentId(event.subject)
        match event.data:
            case PaymentRequested() as fact:
                state = Payment(
                    id=id,
                    order=fact.order,
                    payer=fact.payer,
                    amount=fact.amount,
                    refunded=Money.zero(fact.amount.currency),
                    status=fact.status,
                    reason=Text(""),
                    purpose=fact.purpose,
                    means=fact.means,
                    method=fact.method,
                    disputed=False,
                    created_at=event.time,
                    version=event.version,
                )
                self.payments.put(
                    PaymentRow(
                        payment=id,
                        order_id=fact.order,
                        payer=fact.payer,
                        created_at=event.time,
                        charge="",
                        state=state,
                    )
                )
            case fact:
                taken = fact.reference if isinstance(fact, PaymentProcessed | PaymentCameLate) else None
                self.payments.change(
                    id,
                    change=lambda row: replace(
                        row,
                        charge=row.charge if taken is None else taken,
                        state=replace(_after(row.state, fact), version=event.version),
                    ),
                )


def _after(
    state: Payment,
    fact: ChargeAnnounced
    | PaymentProcessed
    | PaymentFailed
    | PaymentCameLate
    | PaymentRefunded
    | RefundFailed
    | PaymentDisputed
    | DisputeClosed,
) -> Payment:
    match fact:
        case ChargeAnnounced():
            return replace(state, status=PaymentStatus.REQUIRES_ACTION)
        case PaymentProcessed() | PaymentCameLate():
            return replace(state, status=PaymentStatus.SUCCEEDED)
        case PaymentFailed(reason=reason):
            return replace(state, status=PaymentStatus.FAILED, reason=reason)
        case PaymentRefunded(amount=amount, remaining=remaining):
            status = PaymentStatus.PARTIALLY_REFUNDED if remaining else PaymentStatus.REFUNDED
            return replace(state, refunded=state.refunded + amount, status=status)
        case RefundFailed(amount=amount):
            refunded = state.refunded - amount
            status = PaymentStatus.PARTIALLY_REFUNDED if refunded else PaymentStatus.SUCCEEDED
            return replace(state, refunded=refunded, status=status)
        case PaymentDisputed():
            return replace(state, disputed=True)
        case DisputeClosed(lost=lost):
            return replace(state, disputed=lost)
