"""Messaging's front door. Others may import it."""

from __future__ import annotations

from datetime import datetime

from craton.application import Api, Hidden, Index, Key, Page, Paging, Row, Search, command, query
from craton.domain import Id, Text
from market.messaging.events import MessageId, MessageNotFound


class Messaging(Api):
    """Messages, which all users can read and only their authors can change."""

    @command
    async def post(self, author: Id, body: Text) -> MessageId:
        """Write a message."""

    @command
    async def edit(self, message: MessageId, body: Text) -> None:
        """Replace the text of a message of your own."""

    @command
    async def delete(self, message: MessageId) -> None:
        """Delete a message of your own."""

    @query
    async def message(self, message: MessageId) -> Message:
        """A message."""

    @query
    async def messages(
        self, *, author: Id | None = None, q: Text | None = None, paging: Paging = Paging()
    ) -> Page[Message]:
        """Messages, newest first: those of an author, and those whose text contains `q`."""


class Message(Row):
    not_found = MessageNotFound

    id: Key[MessageId]
    author: Index[Id]
    body: Text
    created_at: Index[datetime]
    edited_at: datetime | None
    version: int
    searched: Hidden[Search[str]]
