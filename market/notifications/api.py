"""Notifications' front door. Others may import it."""

from __future__ import annotations

from craton.application import Api, Index, Key, Page, Paging, Row, command, query
from craton.domain import Id, Instant, Name, Text, Value
from market.identity.events import EmailAddress
from market.notifications.events import LetterId, LetterNotFound, LetterStatus


class Notifications(Api):
    """Letters to users, and their sending by e-mail."""

    @command
    async def write(
        self, letter: LetterId, user: Id, subject: Name, body: Text, *, to: EmailAddress | None = None
    ) -> None:
        """Write a letter to a user, once. Does nothing if the user is deleted.

        `to` is for letters about the account itself: the address that the user had before the account was changed. Such
        a letter is sent even if the user is deleted.
        """

    @command
    async def delay(self, letter: LetterId, reason: Text) -> None:
        """Note that the recipient's server couldn't take a letter. It is tried again, for about a day."""

    @command
    async def try_again(self, letter: LetterId) -> None:
        """Have a letter sent again that couldn't be sent before."""

    @command
    async def sent(self, letter: LetterId) -> None:
        """Note that a letter was sent."""

    @command
    async def to_post(self, letter: LetterId) -> Unsent | None:
        """Return what is to be sent now. None: the letter was sent, its recipient is deleted, or it must wait.

        A letter must wait while its address has got as many letters within a day as it may. It is tried again then.
        """

    @query
    async def letters(self, *, user: Id | None = None, paging: Paging = Paging()) -> Page[Letter]:
        """Letters, newest first."""


class Letter(Row):
    not_found = LetterNotFound

    id: Key[LetterId]
    user: Index[Id]
    subject: Name
    body: Text
    status: LetterStatus
    written_at: Index[Instant]
    version: int


class Unsent(Value):
    """What a mail is made of."""

    to: Text
    subject: Name
    body: Text
