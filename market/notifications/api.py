"""Notifications' contract: all that others may import of it."""

from craton.application import Api, Page, Paging, command, query
from craton.domain import Id, Instant, Name, Text, Value
from market.identity.events import EmailAddress
from market.notifications.events import LetterDue, LetterId, LetterSent, LetterStatus, LetterWritten, Undeliverable

__all__ = [
    "Letter",
    "LetterDue",
    "LetterId",
    "LetterSent",
    "LetterStatus",
    "LetterWritten",
    "Notifications",
    "Undeliverable",
    "Unsent",
]


class Letter(Value):
    id: LetterId
    user: Id
    subject: Name
    body: Text
    status: LetterStatus
    written_at: Instant
    version: int


class Unsent(Value):
    to: Text
    subject: Name
    body: Text


class Notifications(Api):
    """What is written to people."""

    @command
    async def write(
        self, letter: LetterId, user: Id, subject: Name, body: Text, *, to: EmailAddress | None = None
    ) -> None:
        """Write to a user, once; to one who is gone nothing is written. `to`: about his account, where he had it."""

    @command
    async def delay(self, letter: LetterId, reason: Text) -> None:
        """Learn that the recipient couldn't take a letter; it is tried again, for about a day."""

    @command
    async def try_again(self, letter: LetterId) -> None:
        """Say that a letter is due again."""

    @command
    async def sent(self, letter: LetterId) -> None:
        """Learn that a letter was sent."""

    @command
    async def to_post(self, letter: LetterId) -> Unsent | None:
        """What is to be sent now; None if it was, if its recipient is gone, or if he has got too many of late.

        In that case it is due again when he may get another.
        """

    @query
    async def letters(self, *, user: Id | None = None, paging: Paging = Paging()) -> Page[Letter]:
        """What was written, newest first."""
