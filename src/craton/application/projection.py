"""Projections: read models derived from events."""

from types import UnionType
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

from craton.application.errors import WiringError
from craton.application.upcasting import stored_names
from craton.application.view import RowChange, Rows, RowType
from craton.domain import Event, Recorded


class Projection:
    """Derives rows from events. Annotate the rows it keeps (`accounts: Rows[BalanceRow]`) and override `project`.

    `project` must depend on nothing but its event: it is called again at each rebuild.
    """

    version: ClassVar[int] = 1
    """Raise it when the derivation changes: a new version is built beside the old one, then swapped in."""
    inline: ClassVar[bool] = False
    """True: written in the commit of the events themselves, so that a caller reads his writes and constraints hold."""
    cached: ClassVar[bool] = False
    """True, for inline ones: rows that were looked up by key are kept in memory until an event changes them.

    A process sees its own commits at once, and those of others at most a second later."""
    name: ClassVar[str]
    rows: ClassVar[dict[str, RowType[Any]]]
    events: ClassVar[tuple[type[Event], ...]]
    event_names: ClassVar[tuple[str, ...]]
    """The names by which its events are found in the log, sorted."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in cls.__dict__:
            cls.name = cls.__name__.lower()

    def __init__(self) -> None:
        self.said: list[RowChange] = []
        for attribute, row_type in type(self).rows.items():
            setattr(self, attribute, Rows(row_type, self.said))

    def project(self, event: Recorded[Any]) -> None:
        """Say which rows to put, change or delete."""
        raise WiringError(f"{type(self).__name__} must define project")

    @classmethod
    def resolve(cls) -> None:
        """Read the annotations. Raises `WiringError` when they don't say which rows and which events."""
        cls.rows = {
            attribute: RowType(get_args(hint)[0])
            for attribute, hint in get_type_hints(cls).items()
            if get_origin(hint) is Rows
        }
        if cls.cached and not cls.inline:
            raise WiringError(f"projection {cls.__name__} can't be cached: its rows change later than its events")
        if not cls.rows:
            raise WiringError(f"projection {cls.__name__} keeps no rows: annotate one as Rows[…]")
        hint = get_type_hints(cls.project).get("event")
        if get_origin(hint) is not Recorded:
            raise WiringError(f"{cls.__name__}.project must take event: Recorded[…]")
        cls.events = event_types(get_args(hint)[0], f"{cls.__name__}.project")
        cls.event_names = tuple(sorted(stored_names(cls.events)))


def event_types(hint: Any, where: str) -> tuple[type[Event], ...]:
    """Return the event classes of a union. Raises `WiringError` when there is anything else in it."""
    hint = getattr(hint, "__value__", hint)
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    for option in options:
        if not (isinstance(option, type) and issubclass(option, Event) and option is not Event):
            raise WiringError(f"{where}: {option!r} is not a kind of Event")
    return tuple(options)
