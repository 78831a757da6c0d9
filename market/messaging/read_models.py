"""What messaging shows."""

from craton.application import Projection
from craton.domain import Event, Recorded
from market.messaging import domain
from market.messaging.api import Message
from market.messaging.events import MessagePosted


class Messages(Projection):
    """All messages but the deleted ones. Inline, so that authors see their messages at once."""

    inline = True

    def row(self, message: domain.Message, event: Recorded[Event]) -> Message | None:
        if message.deleted:
            return None
        return Message(
            id=message.id,
            author=message.author,
            body=message.body,
            created_at=message.began_at,
            edited_at=None if isinstance(event.data, MessagePosted) else event.time,
            version=message.version,
            searched=message.body,
        )
