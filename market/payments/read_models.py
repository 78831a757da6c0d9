"""What payments show."""

from datetime import datetime

from msgspec.structs import replace

from craton.application import Index, Key, Projection, Row, Rows
from craton.domain import Id, Money, Recorded, Text
from market.payments.api import Payment
from market.payments.events import (
    ChargeAnnounced,
    DisputeClosed,
    PaidAgain,
    PaidAgainReturned,
    PaymentCameLate,
    PaymentDisputed,
    PaymentFailed,
    PaymentId,
    PaymentProcessed,
    PaymentRefunded,
    PaymentRequested,
    PaymentStatus,
    RefundFailed,
    RefundMadeElsewhere,
    RefundRequested,
)


class PaymentRow(Row):
    payment: Key[PaymentId]
    order_id: Index[Id]
    payer: Index[Id]
    created_at: Index[datetime]
    charge: Index[str]
    """What the gateway calls it, as soon as that is known."""
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
            | RefundRequested
            | RefundMadeElsewhere
            | RefundFailed
            | PaidAgain
            | PaidAgainReturned
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
                if isinstance(fact, ChargeAnnounced | PaymentProcessed | PaymentCameLate):
                    reference = fact.reference
                else:
                    reference = ""
                self.payments.fold(
                    id,
                    by=lambda row: replace(
                        row,
                        charge=reference or row.charge,
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
    | RefundRequested
    | RefundMadeElsewhere
    | RefundFailed
    | PaidAgain
    | PaidAgainReturned
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
        case RefundRequested() | RefundMadeElsewhere() | PaidAgain() | PaidAgainReturned():
            return state
        case PaymentDisputed():
            return replace(state, disputed=True)
        case DisputeClosed(disputed=disputed):
            return replace(state, disputed=disputed)
