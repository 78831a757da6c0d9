"""Messages: each has an author, who can edit and delete it."""

from typing import Self

from craton.domain import Aggregate, Id, Text
from market.messaging.events import (
    BlankMessage,
    MessageDeleted,
    MessageEdited,
    MessageId,
    MessageNotFound,
    MessagePosted,
)


class Message(Aggregate[MessageId]):
    not_found = MessageNotFound

    author: Id
    body: Text
    deleted: bool = False

    @classmethod
    def post(cls, author: Id, body: Text) -> Self:
        _require(body)
        return cls.begin(MessageId.new(), MessagePosted(author=author, body=body))

    def edit(self, body: Text) -> None:
        self._require_there()
        _require(body)
        if body != self.body:
            self.record(MessageEdited(body=body))

    def delete(self) -> None:
        self._require_there()
        self.record(MessageDeleted())

    def _require_there(self) -> None:
        if self.deleted:
            raise MessageNotFound(id=self.id)

    def apply(self, event: MessagePosted | MessageEdited | MessageDeleted) -> None:
        match event:
            case MessagePosted(author=author, body=body):
                self.author, self.body = author, body
            case MessageEdited(body=body):
                self.body = body
            case MessageDeleted():
                self.deleted = True


def _require(body: Text) -> None:
    if not body:
        raise BlankMessage()
