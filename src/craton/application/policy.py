"""Policies: whenever this happens, do that."""

from datetime import timedelta
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from craton.application.errors import WiringError
from craton.application.projection import event_types
from craton.application.retry import Retry, minutes, seconds
from craton.domain import Event, Recorded


class Policy:
    """Reacts to events, of its own module or of others, by calling something.

    Override `react`, whose annotation says which events: `event: Recorded[OrderPlaced | OrderShipped]`. The
    constructor's annotations say what it is given, as a service's do. Each event is reacted to once: the commands that
    `react` gives have keys derived from the event, so that it may be tried again. It begins with the first event there
    ever was. An event for which `react` keeps failing is parked with those of the same key; others flow.
    """

    name: ClassVar[str]
    """What its progress is kept under: its class's name. One that was renamed keeps the old one, one that was moved to
    another module the whole of it (`payments.fillwallet`)."""

    events: ClassVar[tuple[type[Event], ...]]
    retry: ClassVar[Retry] = Retry(attempts=5, pause=seconds(0.1), longest_pause=seconds(2))

    patience: ClassVar[timedelta] = minutes(10)
    """How long what can't be reached (`Unavailable`) is waited for before the event is parked."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in cls.__dict__:
            cls.name = cls.__name__.lower()

    def key(self, event: Recorded[Any]) -> str:
        """Events of one key are reacted to in order: those of one aggregate, unless overridden."""
        return event.stream

    async def react(self, event: Recorded[Any]) -> None:
        """Do what is to be done whenever this happens."""
        raise WiringError(f"{type(self).__name__} must define react")

    @classmethod
    def resolve(cls) -> None:
        """Read the annotations. Raises `WiringError` when they don't say which events."""
        hint = get_type_hints(cls.react).get("event")
        if get_origin(hint) is not Recorded or get_args(hint)[0] is Any:
            raise WiringError(f"{cls.__name__}.react must take event: Recorded[…]")
        cls.events = event_types(get_args(hint)[0], f"{cls.__name__}.react")


def full_name(module: str, policy: str) -> str:
    """A policy's name among those of all modules."""
    return policy if "." in policy else f"{module}.{policy}"
