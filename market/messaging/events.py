"""What messaging tells: ids, events and refusals. Others may import it."""

from craton.domain import AggregateNotFound, Event, Id, InvalidValue, Text


class MessageId(Id):
    pass


class MessagePosted(Event):
    author: Id
    body: Text


class MessageEdited(Event):
    body: Text


class MessageDeleted(Event):
    pass


class BlankMessage(InvalidValue):
    """A message needs a text."""


class MessageNotFound(AggregateNotFound):
    """There is no such message."""
