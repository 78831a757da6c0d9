"""Payments' contract: all that others may import of it."""

from typing import Annotated

from msgspec import Meta

from craton.application import Api, Page, Paging, command, query
from craton.domain import Currency, Id, Instant, Money, Name, Secret, Text, Value
from market.payments.events import (
    AmountNotPositive,
    AmountOverLimit,
    CardMissing,
    ChargeAnnounced,
    DepositNotRefundable,
    Means,
    NothingToRefund,
    NotPaidInBrowser,
    PaidAgain,
    PaidAgainReturned,
    PaymentCameLate,
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
    RefundId,
    RefundMadeElsewhere,
    RefundRequested,
    Standing,
    WrongAmount,
)
from market.payments.ports import Notice

__all__ = [
    "AmountNotPositive",
    "AmountOverLimit",
    "CardMissing",
    "ChargeAnnounced",
    "DepositNotRefundable",
    "Means",
    "NotPaidInBrowser",
    "NothingToRefund",
    "PaidAgain",
    "PaidAgainReturned",
    "Payment",
    "PaymentCameLate",
    "PaymentFailed",
    "PaymentId",
    "PaymentNotFound",
    "PaymentOver",
    "PaymentPage",
    "PaymentProcessed",
    "PaymentRefunded",
    "PaymentRequested",
    "PaymentStatus",
    "Payments",
    "Purpose",
    "RefundExceeded",
    "RefundId",
    "RefundMadeElsewhere",
    "RefundRequested",
    "Standing",
    "StartedPayment",
    "WrongAmount",
]

Method = Annotated[Name, Meta(description="a card, as the gateway calls it", examples=["pm_card_visa"])]


class Payment(Value):
    id: PaymentId
    order: Id
    payer: Id
    amount: Money
    refunded: Money
    status: PaymentStatus
    reason: Text
    """Why it failed."""
    purpose: Purpose
    means: Means
    method: str | None
    disputed: bool
    """Whether the payer's bank has asked for the money, and it isn't settled yet or was lost."""
    created_at: Instant
    version: int


class StartedPayment(Value):
    """With the client secret the payer's browser goes on, at the gateway."""

    id: PaymentId
    client_secret: Secret
    status: PaymentStatus
    amount: Money


class PaymentPage(Value):
    url: str


class Payments(Api):
    """Money from outside: by card, or from a wallet."""

    @command
    async def request(self, order: Id, payer: Id, amount: Money, means: Means, method: Name | None = None) -> PaymentId:
        """Have an order paid: by a card, by one that the buyer chooses in the browser (None), or from his wallet.

        What comes of it is told by PaymentProcessed or PaymentFailed.
        """

    @command
    async def start(self, order: Id, amount: Money | None = None) -> StartedPayment:
        """Begin to pay for an order of one's own in the browser. `amount`, if given, must be what it costs."""

    @command
    async def open_page(self, order: Id) -> PaymentPage:
        """Begin to pay for an order of one's own on the gateway's page."""

    @command
    async def deposit(self, payer: Id, money: Money, payment_method: Method) -> PaymentId:
        """Take money from a card into the payer's wallet."""

    @command
    async def settle(self, payment: PaymentId, standing: Standing, reference: str, reason: Text) -> None:
        """Learn how a payment stands with the gateway."""

    @command
    async def give_up(self, payment: PaymentId) -> None:
        """Wait no longer for a payment that hasn't come about."""

    @command
    async def return_deposit(self, payment: PaymentId) -> None:
        """Give a deposit back that could not be put into the wallet."""

    @query
    async def limit(self, currency: Currency) -> Money:
        """The most that can be paid at once in a currency."""

    @command
    async def refund(self, payment: PaymentId, amount: Money | None = None) -> RefundId:
        """Give money back: so much, or all that is left."""

    @command
    async def take_back(self, order: Id) -> None:
        """Undo an order's payment, however far it got. What comes late to ask for one is refused."""

    @command
    async def finish_refund(self, payment: PaymentId, refund: RefundId, amount: Money) -> None:
        """Learn that money was given back."""

    @command
    async def note(self, notice: Notice) -> None:
        """Hear what a webhook says, once."""

    @query
    async def payment(self, payment: PaymentId) -> Payment:
        """A payment."""

    @query
    async def payments(
        self, *, order: Id | None = None, payer: Id | None = None, paging: Paging = Paging()
    ) -> Page[Payment]:
        """Payments, newest first."""
