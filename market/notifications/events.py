"""What notifications tell: ids, values, events and refusals. Others may import it."""

from datetime import datetime
from enum import StrEnum

from craton.domain import AggregateNotFound, Conflict, Event, Id, Name, Text


class LetterId(Id):
    """Derived from the event that a letter is about: there is one for each, however often it is told."""

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
    """It is sent whatever else the address gets, and though the account may be gone: somebody may have taken it."""


class LetterDelayed(Event):
    reason: Text


class LetterHeldBack(Event):
    """Its recipient has got too many of late."""


class LetterDue(Event):
    """It is tried again."""


class LetterSent(Event):
    pass


class LetterAdmitted(Event):
    letter: LetterId
    at: datetime


class LetterNotFound(AggregateNotFound):
    """There is no such letter."""


class Undeliverable(Conflict):
    """The recipient couldn't take the letter however often it was tried."""

    reason: Text

    def __str__(self) -> str:
        return f"The letter can't be delivered: {self.reason}."
