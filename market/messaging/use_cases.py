"""What messaging does with messages."""

from craton.application import Page, Paging, Repository, View, permit
from craton.domain import Id, Text
from market.messaging import domain
from market.messaging.api import Message, Messaging
from market.messaging.events import MessageId


class MessagingService(Messaging):
    def __init__(self, messages: Repository[domain.Message], rows: View[Message]) -> None:
        self._messages = messages
        self._rows = rows

    async def post(self, author: Id, body: Text) -> MessageId:
        message = domain.Message.post(author, body)
        self._messages.add(message)
        return message.id

    async def edit(self, message: MessageId, body: Text) -> None:
        (await self._own(message)).edit(body)

    async def delete(self, message: MessageId) -> None:
        (await self._own(message)).delete()

    async def message(self, message: MessageId) -> Message:
        return await self._rows.get(message)

    async def messages(
        self, *, author: Id | None = None, q: Text | None = None, paging: Paging = Paging()
    ) -> Page[Message]:
        return await self._rows.page(author=author, contains={"searched": q}, order="-created_at", paging=paging)

    async def _own(self, message: MessageId) -> domain.Message:
        """A message that the caller has written. Raises `AccessDenied` for another's."""
        permit((await self._rows.get(message)).author)
        return await self._messages.get(message)
