"""What payments tell: ids, values, events and refusals. Others may import it."""

from enum import StrEnum

from craton.domain import AggregateNotFound, Conflict, Event, Id, InvalidValue, Money, Text, Value


class PaymentId(Id):
    """The id of an order's payment is derived from the order, which is paid once."""

    namespace = "craton:market:payments:order"


class RefundId(Id):
    """The id of a refund that a notice has reported is derived from the notice."""

    namespace = "craton:market:payments:refund"


class NoticeId(Id):
    """It is derived from the gateway's own id of the notice."""

    namespace = "craton:market:payments:notice"


class Means(StrEnum):
    CARD = "card"
    WALLET = "wallet"


class Purpose(StrEnum):
    ORDER = "order"
    DEPOSIT = "deposit"


class Standing(StrEnum):
    """How a charge stands with the gateway."""

    REQUIRES_ACTION = "requires_action"  # the payer must do something: choose a card, pass a check
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class PaymentStatus(StrEnum):
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUNDED = "refunded"
    PARTIALLY_REFUNDED = "partially_refunded"

    @property
    def is_open(self) -> bool:
        """Whether the payment may still succeed or fail."""
        return self in (PaymentStatus.REQUIRES_ACTION, PaymentStatus.PROCESSING)

    @property
    def holds_money(self) -> bool:
        """Whether the payment was made, and part of it at least has not been given back."""
        return self in (PaymentStatus.SUCCEEDED, PaymentStatus.PARTIALLY_REFUNDED)


class ChargeOutcome(Value):
    """How a charge stands, and why it failed if it did."""

    standing: Standing
    reason: str = ""


class FailedRefund(Value):
    """A refund that the gateway could not pay out."""

    refund: str
    """Our id of the refund; empty for a refund that was made at the gateway itself."""
    amount: Money
    reason: str


class Dispute(Value):
    """What the payer's bank says about a payment that the payer doesn't accept."""

    id: str
    amount: Money
    reason: str
    lost: bool | None = None
    """None while the dispute is open."""


class Notice(Value):
    """What a webhook of the gateway reports. A field about which the webhook says nothing is None."""

    id: str
    type: str
    payment: str | None = None
    """Our id of the payment; None where the gateway names the charge only."""
    reference: str = ""
    """The gateway's id of the charge."""
    outcome: ChargeOutcome | None = None
    returned: Money | None = None
    """How much of the charge was given back in all."""
    failed_refund: FailedRefund | None = None
    dispute: Dispute | None = None


# --- facts ---------------------------------------------------------------------------------------------------


class PaymentRequested(Event):
    order: Id
    payer: Id
    amount: Money
    purpose: Purpose
    means: Means
    method: str | None
    """The gateway's name of the card; None if the payer chooses a card in the browser."""

    @property
    def status(self) -> PaymentStatus:
        """The payment's first status. A payer who pays in the browser has to do something."""
        in_browser = self.means is Means.CARD and self.method is None
        return PaymentStatus.REQUIRES_ACTION if in_browser else PaymentStatus.PROCESSING


class PaymentCancelledInAdvance(Event):
    """The order was cancelled before anything had asked for its payment. A request that comes later is refused."""

    aliases = ("PaymentForestalled",)

    order: Id


class ChargeAnnounced(Event):
    """The gateway waits for the payer to do something."""

    reference: str
    order: Id | None = None


class PaymentProcessed(Event):
    order: Id
    payer: Id
    amount: Money
    purpose: Purpose
    reference: str
    """The gateway's id of the charge; for a payment from a wallet, the id of the transfer."""


class PaymentFailed(Event):
    order: Id
    payer: Id
    reason: Text


class PaymentCameLate(Event):
    """The gateway has taken the money after the payment had failed. The money goes back."""

    reference: str


class PaidAgain(Event):
    """A second charge has taken the money again. That money goes back."""

    refund: RefundId
    reference: str


class PaidAgainReturned(Event):
    order: Id
    payer: Id
    refund: RefundId
    amount: Money


class RefundRequested(Event):
    refund: RefundId
    amount: Money


class PaymentRefunded(Event):
    order: Id
    payer: Id
    refund: RefundId
    amount: Money
    remaining: Money
    """How much was paid and has not been given back."""


class RefundMadeElsewhere(Event):
    """Money was given back at the gateway itself, without a request from here."""

    refund: RefundId
    amount: Money


class RefundFailed(Event):
    """A refund could not be paid out, so that its money has come back to us."""

    refund: RefundId
    amount: Money
    reason: str


class PaymentDisputed(Event):
    """The payer's bank demands the money back. The gateway withholds it from us until the dispute is closed."""

    dispute: str
    amount: Money
    reason: str


class DisputeClosed(Event):
    dispute: str
    lost: bool
    disputed: bool
    """Whether the payment stays disputed: another dispute is open, or one was lost."""


class NoticeReceived(Event):
    type: str
    payment: str | None
    standing: Standing | None
    reason: str


# --- refusals ------------------------------------------------------------------------------------------------


class AmountNotPositive(InvalidValue):
    """An amount must be more than zero."""


class AmountOverLimit(InvalidValue):
    """A payment can't be over the limit of its currency."""

    limit: Money

    def __str__(self) -> str:
        return f"A payment can't be over {self.limit}."


class WrongAmount(Conflict):
    """The amount isn't what the order costs."""

    total: Money


class PaymentNotFound(AggregateNotFound):
    """There is no such payment."""


class PaymentOver(Conflict):
    """The payment has ended and can't be paid any more."""

    status: PaymentStatus


class CardMissing(InvalidValue):
    """A deposit comes from a card; give its payment_method."""


class NotPaidInBrowser(Conflict):
    """The order doesn't wait for a payment in the browser."""


class NothingToRefund(Conflict):
    """There is nothing to refund: the payment didn't succeed, or all of it was given back."""

    status: PaymentStatus


class RefundExceeded(Conflict):
    """A refund can't be more than what is left of the payment."""

    refundable: Money


class DepositNotRefundable(Conflict):
    """A deposit can't be refunded; withdraw the money from the wallet."""


class BadNotice(InvalidValue):
    """The body of the webhook isn't a valid notice."""


class BadSignature(InvalidValue):
    """The signature of the notice is missing, wrong or too old."""
