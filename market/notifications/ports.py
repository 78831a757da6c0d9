"""What notifications need from outside: somebody who carries mail."""

from typing import Protocol

from craton.domain import Conflict, Value


class Mail(Value):
    id: str
    """The same for the same mail, so that one that is sent again is known as such."""
    to: str
    subject: str
    body: str


class MailRefused(Conflict):
    """The mail can't be delivered, now or later."""

    reason: str

    def __str__(self) -> str:
        return f"The mail can't be delivered: {self.reason}."


class MailDelayed(Conflict):
    """The recipient can't take the mail now; later he may."""

    reason: str


class Mailer(Protocol):
    async def send(self, mail: Mail) -> None:
        """Send a mail. Raises `MailRefused`, `MailDelayed`, and `Unavailable` when no mail can be sent now."""
