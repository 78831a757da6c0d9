"""Policies: whenever an event happens, do something."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from craton.application.dependencies import dependencies_of
from craton.application.errors import WiringError
from craton.application.projection import event_types
from craton.application.retry import Retry, minutes, seconds
from craton.domain import Event, Recorded


class Policy:
    """Reacts to events, of its own module or of others, by calling something.

    Define `async def react(self, event: Recorded[OrderPlaced | OrderShipped], letters: Letters) -> None`: the event's
    annotation names the events, and the other parameters are given as a service's constructor gets its own. Each event
    takes effect once: the commands that `react` calls have keys derived from the event, so `react` may be run again.
    A policy begins with the first event of the log. An event for which `react` keeps failing is parked with the later
    events of the same key; all other events flow.
    """

    name: ClassVar[str]
    """The name under which its progress is stored: its class's name unless given. A renamed policy keeps the old name;
    a policy that was moved to another module keeps the full one (`payments.fillwallet`)."""
    retry: ClassVar[Retry] = Retry(attempts=5, pause=seconds(0.1), longest_pause=seconds(2))
    patience: ClassVar[timedelta] = minutes(10)
    """How long an event waits for something that can't be reached (`Unavailable`) before the event is parked."""
    react: Callable[..., Awaitable[None]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in cls.__dict__:
            cls.name = cls.__name__.lower()

    def key(self, event: Recorded[Any]) -> str:
        """Events with the same key are handled in order. The key is the aggregate, unless overridden."""
        return event.stream


class PolicyDefinition:
    """A policy's class, read and checked. Raises `WiringError` when its annotations aren't complete."""

    def __init__(self, module: str, kind: type[Policy]) -> None:
        where = f"module {module}: {kind.__name__}"
        self.kind = kind
        self.name = full_name(module, kind.name)
        if kind.__init__ is not object.__init__:
            raise WiringError(f"{where} has a constructor; let react ask for what it needs, behind its event")
        if not hasattr(kind, "react"):
            raise WiringError(f"{where} must define react")
        hint = get_type_hints(kind.react).get("event")
        if get_origin(hint) is not Recorded or get_args(hint)[0] is Any:
            raise WiringError(f"{where}.react must take event: Recorded[…]")
        self.events: tuple[type[Event], ...] = event_types(get_args(hint)[0], f"{kind.__name__}.react")
        self.dependencies = dependencies_of(kind.react, f"{where}.react")
        del self.dependencies["event"]


def full_name(module: str, policy: str) -> str:
    """A policy's name, unique among all modules."""
    return policy if "." in policy else f"{module}.{policy}"
