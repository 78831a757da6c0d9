"""What payments need from outside: a gateway that takes money off cards and gives it back."""

from typing import Protocol

from craton.domain import Conflict, Money, Value
from market.payments.events import ChargeOutcome, Notice


class Gateway(Protocol):
    """Takes money off cards. Every method may be called again with the same arguments, and has no second effect.

    Raises `Unavailable` when the gateway can't be reached or doesn't answer in time; what became of the request is then
    found out by asking, never by charging again. Raises `ChargeRefused` for a request that the gateway doesn't accept.
    """

    async def announce(self, payment: str, order: str, amount: Money) -> "Intent":
        """Announce a charge for a payment. The gateway keeps the payment and the order as metadata of the charge."""

    async def charge(self, reference: str, method: str | None) -> ChargeOutcome:
        """Take the money, unless it was taken before. A card that is declined is an outcome, not an error."""

    async def call_off(self, reference: str) -> ChargeOutcome:
        """Make sure that the charge takes no money from now on. It may have done so before: the outcome says it."""

    async def refund(self, reference: str, refund: str, amount: Money) -> None:
        """Give money back; `refund` is our id of the refund. Raises `RefundRefused`."""

    async def page(self, payment: str, order: str, amount: Money) -> str:
        """Return the URL of a hosted page where the payer pays."""

    def read(self, body: bytes, signature: str) -> Notice:
        """Check the signature of a webhook and return what it reports. Raises `BadSignature`, then `BadNotice`."""


class Intent(Value):
    """A charge that was announced to the gateway. No money moves before it is confirmed."""

    reference: str
    """The gateway's id of the charge."""
    client_secret: str
    """The payer's browser needs it to go on with the payment; nothing else may have it."""


# Stored answers name a refusal by its module, so that these two stay here.


class ChargeRefused(Conflict):
    """The gateway refuses to try the charge."""

    reason: str

    def __str__(self) -> str:
        return f"The gateway refuses the charge: {self.reason}."


class RefundRefused(Conflict):
    """The gateway refuses to give the money back."""

    reason: str

    def __str__(self) -> str:
        return f"The gateway refuses to give the money back: {self.reason}."
