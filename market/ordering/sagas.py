"""The checkout."""

from contextlib import suppress

from craton.application import Cause, Retry, Saga, seconds, step, wait_for
from craton.domain import Conflict, Id, Money, Name, Recorded, Text
from market.inventory.api import Inventory
from market.inventory.events import Line, ReservationGone
from market.ledger.api import Ledger
from market.ledger.events import HoldResolved, TransferId
from market.ordering.api import Ordering
from market.ordering.events import OrderId, OrderLine, PayWith
from market.payments.api import Payments
from market.payments.events import Means, PaymentFailed, PaymentId, PaymentProcessed
from market.shipping.api import Shipping

PATIENT = Retry(attempts=10, longest_pause=seconds(5))
"""Half a minute: nobody's order comes to nothing because another service is started again."""


class PaymentRefused(Conflict):
    """The payment has failed."""

    reason: Text

    def __str__(self) -> str:
        return f"The payment has failed: {self.reason}."


class Checkout(Saga):
    """Reserve the goods and take the money; then confirm the order and have it shipped.

    If a step before the confirmation fails, the order is cancelled with the reason, and the steps before it are undone.
    If the order is cancelled while the checkout runs, the end is the same: either the confirmation is refused, or the
    policies that react to the cancellation undo the steps.
    """

    former_fingerprints = ("28463674f18a417cf63bf19a58059fba",)  # when docstrings counted

    order: OrderId
    buyer: Id
    lines: tuple[OrderLine, ...]
    total: Money
    pay_with: PayWith
    payment_method: Name | None
    payment: PaymentId | None = None

    @step
    async def begin(self) -> None:
        """Does nothing; the undo of this first step cancels the order."""

    @begin.undo
    async def fail(self, ordering: Ordering, why: Cause) -> None:
        await ordering.fail(self.order, Text(why.reason or why.code))

    @step(after=begin, retry=PATIENT)
    async def reserve(self, inventory: Inventory) -> None:
        lines = tuple(Line(product=line.product, quantity=line.quantity) for line in self.lines)
        await inventory.reserve(self.order, lines)

    @reserve.undo
    async def release(self, inventory: Inventory) -> None:
        await inventory.release(self.order)

    @step(after=reserve, retry=PATIENT)
    async def pay(self, payments: Payments) -> None:
        means = Means(self.pay_with)
        self.payment = await payments.request(self.order, self.buyer, self.total, means, self.payment_method)

    @pay.undo
    async def take_back(self, payments: Payments) -> None:
        await payments.take_back(self.order)

    @wait_for(lambda event: event.data.order, after=pay)
    async def paid(self, event: Recorded[PaymentProcessed | PaymentFailed]) -> None:
        if isinstance(event.data, PaymentFailed):
            raise PaymentRefused(reason=event.data.reason)

    @step(after=paid, pivot=True)
    async def confirm(self, ordering: Ordering) -> None:
        await ordering.confirm(self.order)

    @step(after=confirm)
    async def collect(self, ledger: Ledger) -> None:
        if self.pay_with is PayWith.WALLET:
            with suppress(HoldResolved):  # the order was cancelled meanwhile, and the money went back
                await ledger.collect(TransferId(str(self.payment)))

    @step(after=confirm)
    async def take_goods(self, inventory: Inventory) -> None:
        with suppress(ReservationGone):  # the order was cancelled meanwhile, and the goods were put back
            await inventory.commit(self.order)

    @step(after=confirm)
    async def schedule(self, shipping: Shipping) -> None:
        await shipping.schedule(self.order, self.buyer)
