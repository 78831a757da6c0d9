"""Letters: what was written to whom about what, and whether it was sent."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self
from uuid import NAMESPACE_URL, uuid5

from craton.domain import Aggregate, AggregateNotFound, Conflict, Event, Id, Name, Text


class LetterId(Id):
    @classmethod
    def about(cls, event: str) -> Self:
        """There is one letter for each event, however often it is told."""
        return cls(str(uuid5(NAMESPACE_URL, f"craton:market:notifications:{event}")))


MOST_DELAYS = 8
FIRST_PAUSE = timedelta(minutes=5)
"""It doubles each time: the last try comes after about a day."""


DAY = timedelta(days=1)


class MailboxId(Id):
    @classmethod
    def at(cls, address: str) -> Self:
        return cls(str(uuid5(NAMESPACE_URL, f"craton:market:notifications:mailbox:{address.casefold()}")))


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


class Letter(Aggregate):
    not_found = LetterNotFound

    id: LetterId
    user: Id
    to: Text
    subject: Name
    body: Text
    status: LetterStatus
    about_account: bool = False
    delays: int = 0

    @classmethod
    def write(cls, id: LetterId, user: Id, to: Text, subject: Name, body: Text, *, about_account: bool = False) -> Self:
        fact = LetterWritten(user=user, to=to, subject=subject, body=body, about_account=about_account)
        return cls.begin(id, fact)

    def delay(self, reason: Text) -> timedelta:
        """Note that the recipient couldn't take it; return in what time to try again. Raises `Undeliverable`."""
        if self.delays == MOST_DELAYS:
            raise Undeliverable(reason=reason)
        pause = FIRST_PAUSE * (1 << self.delays)
        self.record(LetterDelayed(reason=reason))
        return pause

    def hold_back(self) -> None:
        self.record(LetterHeldBack())

    def try_again(self) -> None:
        if self.status is LetterStatus.QUEUED:
            self.record(LetterDue())

    def sent(self) -> None:
        if self.status is not LetterStatus.SENT:
            self.record(LetterSent())

    def apply(self, event: LetterWritten | LetterDelayed | LetterHeldBack | LetterDue | LetterSent) -> None:
        match event:
            case LetterWritten(user=user, to=to, subject=subject, body=body, about_account=about_account):
                self.user, self.to, self.subject, self.body = user, to, subject, body
                self.about_account = about_account
                self.status = LetterStatus.QUEUED
            case LetterDelayed():
                self.delays += 1
            case LetterSent():
                self.status = LetterStatus.SENT


class Mailbox(Aggregate):
    """An address, and the letters that went there within a day."""

    id: MailboxId
    admitted: tuple[LetterAdmitted, ...] = ()

    def admit(self, letter: LetterId, now: datetime, most: int) -> timedelta:
        """Let a letter go there, at most so many within a day; return in what time it may: zero if it may now."""
        recent = [one for one in self.admitted if now - one.at < DAY]
        if any(one.letter == letter for one in recent):
            return timedelta()  # it is tried again
        if len(recent) >= most:
            return recent[-most].at + DAY - now
        self.record(LetterAdmitted(letter=letter, at=now))
        return timedelta()

    def apply(self, event: LetterAdmitted) -> None:
        self.admitted = (*(one for one in self.admitted if event.at - one.at < DAY), event)
