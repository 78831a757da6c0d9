"""What payments show."""

from craton.application import Projection
from craton.domain import Event, Recorded
from market.payments import domain
from market.payments.api import Payment


class PaymentList(Projection):
    """All payments. Inline, so that payers see a payment as soon as it is requested."""

    version = 3
    inline = True

    def row(self, payment: domain.Payment, event: Recorded[Event]) -> Payment | None:
        if payment.cancelled_in_advance:
            return None
        return Payment(
            id=payment.id,
            order_id=payment.order,
            payer=payment.payer,
            amount=payment.amount,
            refunded=payment.refunded,
            status=payment.status,
            reason=payment.reason,
            purpose=payment.purpose,
            means=payment.means,
            method=payment.method,
            disputed=payment.disputed,
            created_at=payment.began_at,
            version=payment.version,
            charge=payment.reference or payment.announced,
        )
