"""Letters to users, and how many of them an address may get within a day."""

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

MAX_DELAYS = 8
FIRST_PAUSE = timedelta(minutes=5)
"""How long the first delay lasts. Each further one lasts twice as long, so the last attempt comes after about a day."""
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
        """Note that the recipient's server couldn't take the letter; return how long to wait before the next attempt.

        Raises `Undeliverable` after too many attempts.
        """
        if self.delays == MAX_DELAYS:
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
    """An e-mail address, and the letters that it got within the last day."""

    admitted: tuple[LetterAdmitted, ...] = ()

    def admit(self, letter: LetterId, now: datetime, max_letters_a_day: int) -> timedelta:
        """Let a letter go to the address, or return how long it must wait because of the limit. Zero: it may go now."""
        recent = [admitted for admitted in self.admitted if now - admitted.at < DAY]
        if any(admitted.letter == letter for admitted in recent):
            return timedelta()  # this is another attempt to send it
        if len(recent) >= max_letters_a_day:
            return recent[-max_letters_a_day].at + DAY - now
        self.record(LetterAdmitted(letter=letter, at=now))
        return timedelta()

    def apply(self, event: LetterAdmitted) -> None:
        recent = (admitted for admitted in self.admitted if event.at - admitted.at < DAY)
        self.admitted = (*recent, event)
