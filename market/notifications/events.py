"""What notifications tell: ids, values, events and refusals. Others may import it."""

from datetime import datetime
from enum import StrEnum

from craton.domain import AggregateNotFound, Conflict, Event, Id, Name, Text


class LetterId(Id):
    """Derived from the event that a letter is about, so each event has one letter, however often it is handled."""

    namespace = "craton:market:notifications"


class MailboxId(Id):
    """Derived from an e-mail address in lower case."""

    namespace = "craton:market:notifications:mailbox"


class LetterStatus(StrEnum):
    QUEUED = "queued"
    SENT = "sent"


class LetterWritten(Event):
    user: Id
    to: Text
    subject: Name
    body: Text
    about_account: bool = False
    """Whether it tells of a change to the account, which somebody else may have made. Such a letter is sent even if the
    address has got too many letters, or the account is deleted."""


class LetterDelayed(Event):
    reason: Text


class LetterHeldBack(Event):
    """It must wait, because its address has got too many letters within a day."""


class LetterDue(Event):
    """It is to be sent now, after it had to wait."""


class LetterSent(Event):
    pass


class LetterAdmitted(Event):
    letter: LetterId
    at: datetime


class LetterNotFound(AggregateNotFound):
    """There is no such letter."""


class Undeliverable(Conflict):
    """The letter can't be delivered: every attempt to send it has failed."""

    reason: Text

    def __str__(self) -> str:
        return f"The letter can't be delivered: {self.reason}."
