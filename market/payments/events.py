"""What payments tell: ids, values, events and refusals. Others may import it."""

from enum import StrEnum

from craton.domain import AggregateNotFound, Conflict, Event, Id, InvalidValue, Money, Text


class PaymentId(Id):
    """Of an order's payment: derived from the order, which is paid once."""

    namespace = "craton:market:payments:order"


class RefundId(Id):
    """Of a refund of which a notice has told us: derived from the notice."""

    namespace = "craton:market:payments:refund"


class NoticeId(Id):
    """Derived from what the gateway calls the notice."""

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


# --- facts ---------------------------------------------------------------------------------------------------


class PaymentRequested(Event):
    order: Id
    payer: Id
    amount: Money
    purpose: Purpose
    means: Means
    method: str | None
    """The card, as the gateway calls it; None if the payer is to choose one in the browser."""

    @property
    def status(self) -> PaymentStatus:
        """How the payment stands at first: in the browser, the payer has to do something."""
        in_browser = self.means is Means.CARD and self.method is None
        return PaymentStatus.REQUIRES_ACTION if in_browser else PaymentStatus.PROCESSING


class PaymentForestalled(Event):
    """What was to be paid is called off before anybody has asked for the money."""

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
    """What the gateway calls the charge; of a wallet's payment, the id of the transfer."""


class PaymentFailed(Event):
    order: Id
    payer: Id
    reason: Text


class PaymentCameLate(Event):
    """The money was taken after all, for what nobody wants any more."""

    reference: str


class PaidAgain(Event):
    """The money was taken a second time, by another charge: it goes back."""

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
    """What was paid and has not been given back."""


class RefundMadeElsewhere(Event):
    """Somebody has given money back at the gateway itself."""

    refund: RefundId
    amount: Money


class RefundFailed(Event):
    """Money that had been given back has come back to us: it could not be paid out."""

    refund: RefundId
    amount: Money
    reason: str


class PaymentDisputed(Event):
    """The payer has his bank ask for the money; the gateway has taken it from us meanwhile."""

    dispute: str
    amount: Money
    reason: str


class DisputeClosed(Event):
    dispute: str
    lost: bool
    disputed: bool
    """Whether the payment still is: by another one, or because one was lost."""


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
    """That isn't what the order costs."""

    total: Money


class PaymentNotFound(AggregateNotFound):
    """There is no such payment."""


class PaymentOver(Conflict):
    """The payment has ended; it can't be paid any more."""

    status: PaymentStatus


class CardMissing(InvalidValue):
    """A deposit comes from a card; name one."""


class NotPaidInBrowser(Conflict):
    """The order doesn't wait for its buyer to pay in the browser."""


class NothingToRefund(Conflict):
    """The payment didn't succeed, or all of it was given back."""

    status: PaymentStatus


class RefundExceeded(Conflict):
    """No more can be given back than was paid."""

    refundable: Money


class DepositNotRefundable(Conflict):
    """A deposit is in the wallet; it is withdrawn from there."""
