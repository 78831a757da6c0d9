"""Payments' front door. Others may import it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from craton.application import Api, Hidden, Index, Key, Page, Paging, Row, command, query
from craton.domain import Currency, Id, Instant, Money, Name, Secret, Text, Value
from market.payments.events import (
    Means,
    Notice,
    PaymentId,
    PaymentNotFound,
    PaymentStatus,
    Purpose,
    RefundId,
    Standing,
)


class Payments(Api):
    """Money from outside: by card, or from a wallet."""

    @command
    async def request(self, order: Id, payer: Id, amount: Money, means: Means, method: Name | None = None) -> PaymentId:
        """Request the payment of an order, by card or from the buyer's wallet.

        Without a `method` the buyer chooses a card in the browser. PaymentProcessed or PaymentFailed tells the result.
        """

    @command
    async def start(self, order: Id, amount: Money | None = None) -> StartedPayment:
        """Begin to pay for one of your orders in the browser. `amount`, if given, must be what the order costs."""

    @command
    async def open_page(self, order: Id) -> PaymentPage:
        """Begin to pay for one of your orders on the gateway's page."""

    @command
    async def deposit(self, payer: Id, money: Money, payment_method: Method) -> PaymentId:
        """Take money from a card and put it into the payer's wallet."""

    @command
    async def settle(self, payment: PaymentId, standing: Standing, reference: str, reason: Text) -> None:
        """Record how a payment stands with the gateway."""

    @command
    async def give_up(self, payment: PaymentId) -> None:
        """Stop waiting for a payment: it fails if it is still open."""

    @command
    async def return_deposit(self, payment: PaymentId) -> None:
        """Give back a deposit that the wallet did not accept."""

    @query
    async def limit(self, currency: Currency) -> Money:
        """The largest amount of a currency that one payment may have."""

    @command
    async def refund(self, payment: PaymentId, amount: Money | None = None) -> RefundId:
        """Give back part of a payment, or all that is left if no amount is given."""

    @command
    async def take_back(self, order: Id) -> None:
        """Undo an order's payment, however far it got. A request for the payment that comes later is refused."""

    @command
    async def finish_refund(self, payment: PaymentId, refund: RefundId, amount: Money) -> None:
        """Record that a refund has reached the payer."""

    @command
    async def receive_notice(self, notice: Notice) -> None:
        """Record what a webhook reports. A notice that comes again changes nothing."""

    @query
    async def payment(self, payment: PaymentId) -> Payment:
        """A payment."""

    @query
    async def payments(
        self, *, order: Id | None = None, payer: Id | None = None, paging: Paging = Paging()
    ) -> Page[Payment]:
        """Payments, newest first."""


class Payment(Row):
    not_found = PaymentNotFound

    id: Key[PaymentId]
    order_id: Index[Id] = msgspec.field(name="order")  # a view sorts by its argument `order`
    payer: Index[Id]
    amount: Money
    refunded: Money
    status: PaymentStatus
    reason: Text
    """Why the payment failed."""
    purpose: Purpose
    means: Means
    method: str | None
    disputed: bool
    """Whether the payer's bank demands the money back, and the dispute is open or was lost."""
    created_at: Index[Instant]
    version: int
    charge: Hidden[Index[str]]
    """The gateway's id of the charge, as soon as it is known."""


class StartedPayment(Value):
    """With the client secret the payer's browser continues at the gateway."""

    id: PaymentId
    client_secret: Secret
    status: PaymentStatus
    amount: Money


class PaymentPage(Value):
    url: str


Method = Annotated[Name, msgspec.Meta(description="a card, as the gateway calls it", examples=["pm_card_visa"])]
