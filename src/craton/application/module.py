"""A module: one API, its use cases, its data."""

import copy
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from inspect import isfunction
from typing import Any, Final, Literal, get_args, get_origin

from craton.application.api import Api, OperationDefinition
from craton.application.dependencies import Dependencies, dependencies_of
from craton.application.errors import WiringError
from craton.application.operators import OperatorLog
from craton.application.policy import Policy, PolicyDefinition
from craton.application.projection import Projection, ProjectionDefinition, events_of
from craton.application.repository import Repository
from craton.application.routes import Routes
from craton.application.rows import RowDefinition
from craton.application.rpcs import Rpcs
from craton.application.sagas import Saga, SagaDefinition
from craton.application.sagas.index import SagaIndex
from craton.application.sagas.rules import SagaProcess
from craton.application.settings import Settings
from craton.application.upcasting import EventTypes, Upcaster
from craton.domain import Event
from craton.domain.aggregate import AnyAggregate
from craton.ports import OWN_TABLES, Store

Start = Callable[..., Awaitable[Sequence[str]]]
Part = Literal["service", "adapter", "hook", "handler", "policy", "saga"]
"""What declares dependencies: a hook is `start` or `verify`, an adapter a function in `provides`."""

TOOLKIT_AGGREGATES: Final = frozenset((SagaProcess, OperatorLog))
"""The aggregates that the toolkit itself keeps in a module's store."""

_MADE: Final = re.compile(r"CREATE\s+(?:TABLE|VIEW)\s+(?:IF\s+NOT\s+EXISTS\s+)?\"?(\w+)", re.IGNORECASE).search


class Module:
    """A bounded context, as data. Raises `WiringError` when its parts don't fit.

    `service` implements `api`; the annotations of its constructor say what it needs: `Repository[X]`, `View[R]`,
    `Sagas[S]`, `Database`, the module's `settings`, another module's Api, or a port that `provides` maps to an adapter.
    Instead of an adapter, `provides` may name a function that makes it; the function gets its parameters in the same
    way, and the adapter is closed at the end if it has an async `close`. Policies, steps of sagas and handlers of
    routes that are written by hand get their parameters in the same way too.
    `routes` and `rpcs` say which URL and which gRPC procedure is which method of the API.
    `retired` are names that the store may still hold but the module no longer has: of policies, projections, their
    rows, sagas and their steps (`Checkout.charge`), commands of timers, stream prefixes and events. If a name is gone
    and not retired, the start refuses it, because the name may only have been changed; retired events are skipped.
    `start` is called, with the parameters it declares, each time before the module serves, so it must be repeatable. It
    returns sentences that are shown at start.
    `tables` are statements that make the module's own tables; each is run at every start, so it must be repeatable.
    `database` may place these tables elsewhere: it is called with the store and the module's settings, and returns the
    store with its tables in another database, such as `MariaDbTables`. Such a module has neither aggregates nor sagas.
    `sealed` chains a hash over the log, so that `craton verify` detects changes of the past. `verify` is the module's
    own audit: it is called with the parameters it declares and returns a sentence for each thing that is wrong.
    """

    def __init__(
        self,
        name: str,
        *,
        api: type[Api],
        service: type[Api],
        projections: Sequence[type[Projection]] = (),
        policies: Sequence[type[Policy]] = (),
        retired: Sequence[str] = (),
        sagas: Sequence[type[Saga]] = (),
        routes: Routes | None = None,
        rpcs: Rpcs | None = None,
        upcasters: Sequence[Upcaster] = (),
        settings: type[Settings] = Settings,
        provides: dict[type[Any], Any] | None = None,
        start: Start | None = None,
        tables: Sequence[str] = (),
        database: Callable[[Store, Any], Store] | None = None,
        sealed: bool = False,
        verify: Callable[..., Awaitable[Sequence[str]]] | None = None,
    ) -> None:
        if not (name.isascii() and name.isidentifier() and name.islower() and len(name) <= 40):
            raise WiringError(f"module name {name!r} must be a short lower-case word")
        if not issubclass(service, api):
            raise WiringError(f"module {name}: {service.__name__} doesn't implement {api.__name__}")
        for operation in api.operations.values():
            method = getattr(service, operation.name)
            if method is getattr(api, operation.name):
                raise WiringError(f"module {name}: {service.__name__} has no {operation.name}")
            for difference in operation.differences(method):
                raise WiringError(f"module {name}: {difference}")
        self.name = name
        self.api = api
        self.service = service
        self.routes = routes or Routes()
        self.rpcs = rpcs
        self.upcasters = tuple(upcasters)
        self.settings = settings
        self.provides = provides or {}
        self.retired = frozenset(retired)
        self.start = start
        self.tables = tuple(tables)
        for table in filter(None, map(_MADE, self.tables)):
            if table[1].lower() in OWN_TABLES:
                raise WiringError(f"module {name}: its table {table[1]} has the name of a table of Craton's; rename it")
        self.database = database
        self.sealed = sealed
        self.verify = verify
        self.service_dependencies = dependencies_of(service.__init__, f"module {name}: {service.__name__}")
        self.sagas = {saga.__name__: SagaDefinition(saga) for saga in sagas}
        read_models = [ProjectionDefinition(kind) for kind in (*projections, *([SagaIndex] if sagas else ()))]
        self.projections = {projection.name: projection for projection in read_models}
        if len(self.projections) < len(read_models):
            raise WiringError(f"module {name}: two projections have the same name")
        reactions = [PolicyDefinition(name, kind) for kind in policies]
        self.policies = {policy.name: policy for policy in reactions}
        if len(self.policies) < len(policies) or len(self.sagas) < len(sagas):
            raise WiringError(f"module {name}: two policies or two sagas have the same name")
        self.rows = self._rows_by_projection()
        self.aggregates: tuple[type[AnyAggregate], ...] = (
            *(get_args(hint)[0] for hint in self.service_dependencies.values() if _is(hint, Repository)),
            *([SagaProcess] if sagas else ()),
            OperatorLog,
        )
        """The module's own aggregates, and those that the toolkit keeps in its store."""
        if database is not None and (sagas or set(self.aggregates) - TOOLKIT_AGGREGATES):
            raise WiringError(
                f"module {name}: its own tables may be in another database, so that one commit can't hold them "
                f"together with events; give the aggregates and sagas a module of their own"
            )
        prefixes = [aggregate.stream_prefix for aggregate in set(self.aggregates)]
        for prefix in prefixes:
            if prefixes.count(prefix) > 1:
                raise WiringError(f"module {name}: two kinds of aggregates have streams called {prefix}-…")
        self.foreign = {name: found for name, found in self.projections.items() if self._is_foreign(found)}
        """The projections of another module's events."""
        self.events = EventTypes(self._event_kinds(), self.upcasters, self.retired)

    def with_adapters(self, adapters: Mapping[Any, Any]) -> "Module":
        """A copy in which some of its ports have other adapters."""
        twin = copy.copy(self)
        twin.provides = {port: adapters.get(port, adapter) for port, adapter in self.provides.items()}
        return twin

    @property
    def dependencies(self) -> Iterator[tuple[Part, str, str, Any]]:
        """The dependencies of its parts: the kind of part, its name, the parameter, and its annotation."""
        parts: list[tuple[Part, str, Dependencies]] = [("service", self.service.__name__, self.service_dependencies)]
        hooks: list[tuple[Part, Any]] = [("hook", hook) for hook in (self.start, self.verify) if hook is not None]
        hooks += [("adapter", adapter) for adapter in self.provides.values() if isfunction(adapter)]
        for part, function in hooks:
            found = dependencies_of(function, f"module {self.name}: {function.__name__}")
            parts.append((part, function.__name__, found))
        for route in self.routes:
            if not isinstance(route.handler, OperationDefinition):
                parts.append(("handler", route.handler.__name__, handler_dependencies(route.handler)))
        parts += [("policy", policy.kind.__name__, policy.dependencies) for policy in self.policies.values()]
        for saga in self.sagas.values():
            for steps in (saga.dependencies, saga.undo_dependencies):
                parts += [("saga", f"{saga.name}.{step}", dependencies) for step, dependencies in steps.items()]
        for part, where, dependencies in parts:
            yield from ((part, where, name, hint) for name, hint in dependencies.items())

    @property
    def reactions(self) -> Iterator[tuple[str, Sequence[type[Event]]]]:
        """The parts that react to events, each with the kinds of events it reacts to."""
        for policy in self.policies.values():
            yield policy.kind.__name__, policy.events
        for projection in self.foreign.values():
            yield projection.kind.__name__, projection.events
        for definition in self.sagas.values():
            for step, events in definition.awaits.items():
                yield f"{definition.name}.{step}", events

    def _rows_by_projection(self) -> dict[type[Any], tuple[ProjectionDefinition, RowDefinition[Any]]]:
        rows: dict[type[Any], tuple[ProjectionDefinition, RowDefinition[Any]]] = {}
        names: set[str] = set()
        for projection in self.projections.values():
            for row_type in projection.rows.values():
                if row_type.row in rows or row_type.name in names:
                    raise WiringError(f"module {self.name}: {row_type.row.__name__} is kept by two projections")
                rows[row_type.row] = (projection, row_type)
                names.add(row_type.name)
        return rows

    def _event_kinds(self) -> list[type[Event]]:
        kinds: dict[type[Event], None] = {}
        for aggregate in self.aggregates:
            kinds.update(dict.fromkeys(events_of(aggregate)))
        for projection in self.projections.values():
            if projection.settings_class not in (None, self.settings):
                raise WiringError(
                    f"module {self.name}: {projection.kind.__name__} uses settings that aren't the module's"
                )
        return list(kinds)

    def _is_foreign(self, projection: ProjectionDefinition) -> bool:
        """Whether a projection reads another module's log. Raises `WiringError` if it can't."""
        own = {event for aggregate in self.aggregates for event in events_of(aggregate)}
        foreign = [event.__name__ for event in projection.events if event not in own]
        where = f"module {self.name}: {projection.kind.__name__} projects {', '.join(foreign)}"
        if not foreign:
            return False
        if len(foreign) < len(projection.events):
            raise WiringError(
                f"{where}, which none of its aggregates applies; a projection reads one log: make two of them"
            )
        if projection.inline or projection.aggregate is not None:
            raise WiringError(
                f"{where} of another module, whose commits and aggregates it has no part in: use `project`, and leave "
                f"`inline` away"
            )
        return True


def _is(hint: Any, generic: type[Any]) -> bool:
    return bool(get_origin(hint) == generic)


def handler_dependencies(handler: Callable[..., Any]) -> Dependencies:
    """Return the dependencies of a handler written by hand, without its first parameter, the request."""
    dependencies = dependencies_of(handler, f"the handler {handler.__name__}")
    return dict(list(dependencies.items())[1:])
