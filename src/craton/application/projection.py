"""Projections: read models derived from events."""

import copy
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

from craton.application.errors import MisuseError, WiringError
from craton.application.rows import Row, RowChange, RowDefinition, Rows, plain_value
from craton.application.settings import Settings
from craton.application.upcasting import stored_names
from craton.domain import Aggregate, Event, Recorded
from craton.domain.aggregate import AnyAggregate, applied_events


class Projection:
    """Derives rows from events, in one of two forms.

    For an aggregate: `def row(self, account: Account, event: Recorded) -> Balance` returns the aggregate's one row, or
    None for no row. It is called after each event, with the aggregate's state at that time and the event.
    Free form: `def project(self, event: Recorded[…]) -> None` puts, changes or deletes rows through attributes that are
    annotated, as in `accounts: Rows[Balance]`.
    Both forms must depend only on their arguments, because a rebuild calls them again for every event. A projection may
    also use its module's settings, in an attribute that is annotated with their class: it is built again when they
    change. The free form may also read the log of another module, if all its events are that module's.
    """

    version: ClassVar[int] = 1
    """Increase it when the derivation changes: a new version is built beside the old one and then replaces it."""
    inline: ClassVar[bool] = False
    """True: rows are written in the commit of the events, so that callers read their writes and constraints hold."""
    cached: ClassVar[bool] = False
    """True, for inline projections: rows that were looked up by key stay in memory until an event changes them.

    A process sees its own commits at once, and those of other processes after a second at most."""
    name: ClassVar[str]
    """The name under which its progress is stored: its class's name in lower case unless given."""
    row: Callable[..., Row | None]
    project: Callable[..., None]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in cls.__dict__:
            cls.name = cls.__name__.lower()

    @classmethod
    def may_be_missing(cls, row: Any) -> bool:
        """Whether `craton verify` may find this row missing, because it is only kept for a time."""
        return False

    def __init__(self, rows: Mapping[str, RowDefinition[Any]]) -> None:
        self.changes: list[RowChange] = []
        for attribute, definition in rows.items():
            setattr(self, attribute, Rows(definition, self.changes))


class ProjectionDefinition:
    """A projection's class, read and checked. Raises `WiringError` when its annotations aren't complete."""

    def __init__(self, kind: type[Projection]) -> None:
        self.kind = kind
        self.name = kind.name
        self.version = kind.version
        self.inline = kind.inline
        self.cached = kind.cached
        self.settings: Settings | None = None
        """The settings that it uses; None if it uses none, or before they are read."""
        self._settings_attribute = _settings_attribute(kind)
        if self.cached and not self.inline:
            raise WiringError(f"projection {kind.__name__} can't be cached: its rows change later than its events")
        forms = [form for form in ("row", "project") if callable(getattr(kind, form, None))]
        if len(forms) != 1:
            what = " and ".join(forms) or "neither row nor project"
            raise WiringError(f"projection {kind.__name__} defines {what}; it must define one of them")
        self.aggregate = self._read_row(kind) if forms == ["row"] else None
        """The aggregate whose states it is given; None if it has the free form."""
        if self.aggregate is None:
            self._read_project(kind)
        self.event_names = tuple(sorted(stored_names(self.events)))
        """The names under which its events are stored in the log."""
        self._names = frozenset(self.event_names)
        self._prefix = "" if self.aggregate is None else f"{self.aggregate.stream_prefix}-"

    def _read_row(self, kind: type[Projection]) -> type[AnyAggregate]:
        hints = get_type_hints(kind.row)
        state: Any = next(iter(hints.values()), None)
        options = _options(hints.get("return"))
        rows = [option for option in options if isinstance(option, type) and issubclass(option, Row)]
        is_aggregate = isinstance(state, type) and issubclass(state, Aggregate)
        if not is_aggregate or len(rows) != 1:
            raise WiringError(
                f"{kind.__name__}.row must take an aggregate and its event, and return a row: "
                f"def row(self, account: Account, event: Recorded) -> Balance"
            )
        self.rows: dict[str, RowDefinition[Any]] = {"": RowDefinition(rows[0])}
        if len(self.rows[""].key) != 1:
            raise WiringError(f"{rows[0].__name__} must have one key, the id of its {state.__name__}")
        self.events: tuple[type[Event], ...] = events_of(state)
        aggregate: type[AnyAggregate] = state
        return aggregate

    def _read_project(self, kind: type[Projection]) -> None:
        self.rows = {
            attribute: RowDefinition(get_args(hint)[0])
            for attribute, hint in get_type_hints(kind).items()
            if get_origin(hint) is Rows
        }
        if not self.rows:
            raise WiringError(f"projection {kind.__name__} keeps no rows: annotate one as Rows[…]")
        hint = get_type_hints(kind.project).get("event")
        if get_origin(hint) is not Recorded:
            raise WiringError(f"{kind.__name__}.project must take event: Recorded[…]")
        self.events = event_types(get_args(hint)[0], f"{kind.__name__}.project")

    def concerns(self, type: str, stream: str) -> bool:
        """Whether an event of this type, in this stream, changes its rows."""
        return type in self._names and stream.startswith(self._prefix)

    @property
    def settings_class(self) -> type[Settings] | None:
        """The class of the settings that it uses."""
        return None if self._settings_attribute is None else self._settings_attribute[1]

    def using(self, settings: Settings) -> "ProjectionDefinition":
        """The definition with the settings that its instances use."""
        definition = copy.copy(self)
        definition.settings = settings
        return definition

    def new(self) -> Projection:
        """A new instance, ready to be given events."""
        projection = self.kind({} if self.aggregate is not None else self.rows)
        if self._settings_attribute is not None and self.settings is not None:
            setattr(projection, self._settings_attribute[0], self.settings)
        return projection

    def changes(
        self, projection: Projection, event: Recorded[Event], aggregate: AnyAggregate | None = None
    ) -> list[RowChange]:
        """The changes of rows that a projection makes for an event; one of an aggregate is given the state after it."""
        if self.aggregate is None:
            projection.changes.clear()
            projection.project(event)
            return projection.changes.copy()
        assert aggregate is not None  # noqa: S101
        rows, row = self.rows[""], projection.row(aggregate, event)
        key = (plain_value(aggregate.id),)
        if row is not None and rows.key_of(row) != key:
            raise MisuseError(
                f"{self.kind.__name__}.row has returned the row of {rows.key_of(row)[0]} for {aggregate.stream}; the "
                f"key of an aggregate's row is its id"
            )
        kept = None if row is None else rows.own(row)  # a copy: the row may share parts with the aggregate
        return [RowChange(rows, key, lambda _: kept, blind=True)]

    def keys(self, projection: Projection, stream: str, event: Callable[[], Recorded[Event]]) -> list[tuple[Any, ...]]:
        """The keys of the rows that an event of this stream changes; `event` decodes it, if that is necessary."""
        if self.aggregate is not None:
            return [(stream.removeprefix(self._prefix),)]
        return [change.key for change in self.changes(projection, event())]


def _settings_attribute(kind: type[Projection]) -> tuple[str, type[Settings]] | None:
    """The attribute that holds the settings, and their class. Raises `WiringError` for one that can't be filled."""
    found = [
        (name, hint)
        for name, hint in get_type_hints(kind).items()
        if any(isinstance(option, type) and issubclass(option, Settings) for option in _options(hint))
    ]
    if len(found) > 1 or any(not isinstance(hint, type) for _, hint in found):
        raise WiringError(f"{kind.__name__} uses settings: annotate one attribute with their class, and nothing else")
    return found[0] if found else None


def events_of(aggregate: type[AnyAggregate]) -> tuple[type[Event], ...]:
    """Return the kinds of events that an aggregate applies. Raises `WiringError` if it isn't annotated so."""
    where = f"{aggregate.__name__}.apply"
    return tuple(kind for hint in applied_events(aggregate) or (None,) for kind in event_types(hint, where))


def event_types(hint: Any, where: str) -> tuple[type[Event], ...]:
    """Return the event classes of a union. Raises `WiringError` for any other type in it."""
    options = _options(hint)
    for option in options:
        if not (isinstance(option, type) and issubclass(option, Event) and option is not Event):
            raise WiringError(f"{where}: {option!r} is not a kind of Event")
    return options


def _options(hint: Any) -> tuple[Any, ...]:
    """The members of a union; a type that isn't a union is its own only member."""
    hint = getattr(hint, "__value__", hint)
    return tuple(get_args(hint)) if get_origin(hint) in (Union, UnionType) else (hint,)
