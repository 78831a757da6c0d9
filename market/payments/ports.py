"""What payments need from outside: somebody who can take money off a card, and give it back."""

from typing import Protocol

from craton.domain import Conflict, InvalidValue, Money, Value
from market.payments.events import Standing


class Intent(Value):
    """A charge that was announced to the gateway; no money moves before it is confirmed."""

    reference: str
    """What the gateway calls it."""
    client_secret: str
    """With it the payer's browser, and nobody else, can go on with the payment."""


class Outcome(Value):
    """How a charge stands, and why if it failed."""

    standing: Standing
    reason: str = ""


class FailedRefund(Value):
    refund: str
    """Our id of it; empty if it isn't one of ours."""
    amount: Money
    reason: str


class Dispute(Value):
    id: str
    amount: Money
    reason: str
    lost: bool | None = None
    """None: it is open."""


class Notice(Value):
    """What a webhook has to say. What it says nothing of is None; `payment` is, where it knows the charge only."""

    id: str
    type: str
    payment: str | None = None
    reference: str = ""
    """What the gateway calls the charge."""
    outcome: Outcome | None = None
    returned: Money | None = None
    """How much of the charge was given back in all."""
    failed_refund: FailedRefund | None = None
    dispute: Dispute | None = None


class BadNotice(InvalidValue):
    """The notice isn't one."""


class BadSignature(InvalidValue):
    """The signature of the notice is missing, wrong or too old."""


class ChargeRefused(Conflict):
    """The gateway won't even try to charge that."""

    reason: str

    def __str__(self) -> str:
        return f"The gateway refuses the charge: {self.reason}."


class RefundRefused(Conflict):
    """The gateway refuses to give the money back."""

    reason: str

    def __str__(self) -> str:
        return f"The gateway refuses to give the money back: {self.reason}."


class Gateway(Protocol):
    """Takes money off cards. Every method may be called again with the same arguments, and has no second effect.

    Raises `Unavailable` when the gateway can't be reached or doesn't answer in time; what came of it is then found
    out by asking, never by charging again. Raises `ChargeRefused` for what makes no sense to it.
    """

    async def announce(self, payment: str, order: str, amount: Money) -> Intent:
        """Announce a charge for a payment of ours. `order` is what it pays for; both are kept with it as metadata."""

    async def charge(self, reference: str, method: str | None) -> Outcome:
        """Take the money, unless that was done before. A card that is declined is an outcome, no error."""

    async def call_off(self, reference: str) -> Outcome:
        """See to it that no money is taken any more, and say how the charge stands: it may have been taken before."""

    async def refund(self, reference: str, refund: str, amount: Money) -> None:
        """Give money back; `refund` is our id of it. Raises `RefundRefused`."""

    async def page(self, payment: str, order: str, amount: Money) -> str:
        """Return the URL of a hosted page where the payer pays."""

    def read(self, body: bytes, signature: str) -> Notice:
        """Return what a webhook says, once its signature is proved. Raises `BadSignature`, then `BadNotice`."""
