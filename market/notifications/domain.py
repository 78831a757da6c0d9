"""Letters: what was written to whom about what, and whether it was sent."""

from datetime import datetime, timedelta
from typing import Self

from craton.domain import Aggregate, Id, Name, Text
from market.notifications.events import (
    LetterAdmitted,
    LetterDelayed,
    LetterDue,
    LetterHeldBack,
    LetterId,
    LetterNotFound,
    LetterSent,
    LetterStatus,
    LetterWritten,
    MailboxId,
    Undeliverable,
)

MOST_DELAYS = 8
FIRST_PAUSE = timedelta(minutes=5)
"""It doubles each time: the last try comes after about a day."""


DAY = timedelta(days=1)


class Letter(Aggregate[LetterId]):
    not_found = LetterNotFound

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


class Mailbox(Aggregate[MailboxId]):
    """An address, and the letters that went there within a day."""

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
