"""What notifications need from outside: something that sends mail."""

from typing import Protocol

from craton.domain import Conflict, Value


class Mail(Value):
    id: str
    """The same for each attempt to send a mail, so that a mail that arrives twice can be recognised."""
    to: str
    subject: str
    body: str


class MailRefused(Conflict):
    """The mail can't be delivered, neither now nor later."""

    reason: str

    def __str__(self) -> str:
        return f"The mail can't be delivered: {self.reason}."


class MailDelayed(Conflict):
    """The recipient's server can't take the mail now, but may take it later."""

    reason: str


class Mailer(Protocol):
    async def send(self, mail: Mail) -> None:
        """Send a mail. Raises `MailRefused` or `MailDelayed`, or `Unavailable` if no mail at all can be sent now."""
