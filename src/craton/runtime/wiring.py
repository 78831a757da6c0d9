"""How modules are put together: the providers of dependencies, and all checks.

One list of providers says which annotations are allowed and how their values are made. Other annotations are refused.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from inspect import isfunction
from typing import Any, Final, NamedTuple, get_args, get_origin

from craton.application.api import Api
from craton.application.dependencies import Dependencies, dependencies_of
from craton.application.errors import WiringError
from craton.application.module import TOOLKIT_AGGREGATES, Module, Part
from craton.application.projection import ProjectionDefinition, events_of
from craton.application.repository import Repository
from craton.application.sagas import Sagas
from craton.application.sagas.rules import SagaProcess
from craton.application.settings import Settings, read_settings
from craton.application.unit_of_work import Database
from craton.application.view import View
from craton.domain import Event
from craton.ports import Store
from craton.runtime.commands.aggregates import Aggregates
from craton.runtime.commands.state_type import state_type
from craton.runtime.module_map import ModuleMap, module_map


class Wiring:
    """The modules of an app. Raises `WiringError` when two of them don't fit."""

    def __init__(self, app: str, modules: Sequence[Module]) -> None:
        self.app = app
        self.modules = {module.name: module for module in modules}
        if len(self.modules) < len(modules):
            raise WiringError(f"app {app}: two modules have the same name")
        self.owner_of: dict[Any, str] = {module.api: module.name for module in modules}
        """The module of each Api."""
        for module in modules:
            if self.owner_of[module.api] != module.name:
                raise WiringError(f"app {app}: two modules provide {module.api.__name__}")
        self.recorder_of: dict[type[Event], str] = {}
        """The module that records each kind of events."""
        also_by: dict[type[Event], str] = {}
        for module in modules:
            for aggregate in set(module.aggregates) - TOOLKIT_AGGREGATES:
                for event in events_of(aggregate):
                    if self.recorder_of.setdefault(event, module.name) != module.name:
                        also_by[event] = module.name
        for module in modules:
            projected = {found.kind.__name__: found.events for found in module.foreign.values()}
            for where, events in module.reactions:
                for event in events:
                    if event not in self.recorder_of:
                        verb = "projects" if event in projected.get(where, ()) else "reacts to"
                        raise WiringError(f"app {app}: {where} {verb} {event.__name__}, which no module records")
                    if event in also_by:
                        both = f"{self.recorder_of[event]} and {also_by[event]}"
                        raise WiringError(
                            f"app {app}: {where} reacts to {event.__name__}, which the modules {both} both record; "
                            f"each needs a class of its own"
                        )

        for module in modules:
            for projection in module.foreign.values():
                sources = sorted(self.recorders(projection.events))
                if len(sources) > 1:
                    raise WiringError(
                        f"app {app}: {projection.kind.__name__} of the module {module.name} projects events of "
                        f"{' and '.join(sources)}; a projection reads one log: make one for each"
                    )

    @property
    def map(self) -> ModuleMap:
        """What the modules offer, which of them call each other, and which listen to which."""
        return module_map(self.modules, self.owner_of, self.recorder_of)

    def recorders(self, events: Sequence[type[Event]]) -> dict[str, list[type[Event]]]:
        """The modules that record some kinds of events, each with the kinds that it records."""
        found: dict[str, list[type[Event]]] = {}
        for event in events:
            found.setdefault(self.recorder_of[event], []).append(event)
        return found

    def source_of(self, projection: ProjectionDefinition) -> str:
        """The module whose log a projection of foreign events reads."""
        return self.recorder_of[projection.events[0]]

    def problems(self) -> Iterator[str]:
        """Yield a sentence for each thing that would fail later."""
        for module in self.modules.values():
            for operation in module.api.operations.values():
                yield from operation.problems()
            for aggregate in module.aggregates:
                try:
                    state_type(aggregate)
                except (TypeError, NameError) as problem:
                    yield f"{aggregate.__name__}: its state can't be stored: {problem}"
        yield from self.unprovided()

    def unprovided(self) -> Iterator[str]:
        """Yield a sentence for each dependency that has no provider."""
        for module in self.modules.values():
            for part, where, name, annotation in module.dependencies:
                what = f"{where} asks for {name}"
                if part not in _PARTS.get(get_origin(annotation), [part]):
                    yield f"module {module.name}: {what}, but {_REMEDIES[get_origin(annotation)]}"
                elif _provider(self, module, annotation) is None:
                    yield self._refusal(module, what, annotation)

    def _refusal(self, module: Module, what: str, annotation: Any) -> str:
        shown = getattr(annotation, "__name__", str(annotation))
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is View:
            return f"module {module.name}: {what}: no projection keeps {arguments[0].__name__}"
        if origin is Sagas:
            return f"module {module.name}: {what}: {arguments[0].__name__} is none of its sagas"
        if isinstance(annotation, type) and issubclass(annotation, Api):
            return f"app {self.app}: no module provides {shown}; module {module.name}: {what}"
        return f"module {module.name}: {what}: {shown}, which nothing provides. Give it to the module as provides={{…}}"


_PARTS: Final[dict[Any, Sequence[Part]]] = {
    Repository: ["service", "adapter"],
    Sagas: ["service", "adapter"],
    AsyncIterator: ["hook"],
}
"""The parts of a module that may have a dependency of this kind. All others may be had by each part."""
_REMEDIES: Final[dict[Any, str]] = {
    Repository: "only the service changes aggregates; ask for an Api and call its command",
    Sagas: "only the service starts sagas; ask for an Api and call its command",
    AsyncIterator: "only `start` and `verify` read the log; the others are told of events one by one",
}


class Provisions:
    """The dependencies of one running module's code. Adapters are made once, at their first use."""

    def __init__(
        self,
        wiring: Wiring,
        module: Module,
        store: Store,
        aggregates: Aggregates,
        sources: "Sources",
        environment: Mapping[str, str],
    ) -> None:
        self.module = module
        self.store = store
        self.aggregates = aggregates
        self.sources = sources
        self.adapters: dict[Any, Any] = {}
        self._wiring = wiring
        self._environment = environment
        self._settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """The module's settings. Raises `WiringError` for a wrong value."""
        if self._settings is None:
            self._settings = read_settings(self.module.settings, self.module.name, self._environment)
        return self._settings

    def given(self, dependencies: Dependencies) -> dict[str, Any]:
        """The values for annotated parameters, by name. Raises `WiringError` for an annotation that has no provider."""
        return {name: self.one(annotation, name) for name, annotation in dependencies.items()}

    def one(self, annotation: Any, name: str) -> Any:
        """The value for one annotation. Raises `WiringError` if it has no provider."""
        provider = _provider(self._wiring, self.module, annotation)
        if provider is None:
            raise WiringError(self._wiring._refusal(self.module, name, annotation))
        return provider.make(self, annotation)

    def adapter(self, port: Any) -> Any:
        """The adapter of a port. If a function makes it, the function's parameters are filled in the same way."""
        if port not in self.adapters:
            found = self.module.provides[port]
            if isfunction(found):
                found = found(**self.given(dependencies_of(found, f"module {self.module.name}: {found.__name__}")))
            self.adapters[port] = found
        return self.adapters[port]


class Sources(NamedTuple):
    """Where a running module gets the things that lie outside its own code."""

    view: Callable[[type[Any]], View[Any]]
    events: Callable[[], AsyncIterator[Any]]
    api: Callable[[Any], Api]


class Provider(NamedTuple):
    """One kind of dependency that a module's code may declare."""

    fits: Callable[[Wiring, Module, Any], bool]
    """Whether an annotation asks for this kind of dependency, and the module may have it."""
    make: Callable[[Provisions, Any], Any]


def _of(generic: type) -> Callable[[Any], bool]:
    return lambda annotation: get_origin(annotation) is generic and bool(get_args(annotation))


_is_repository, _is_view, _is_sagas, _is_events = map(_of, (Repository, View, Sagas, AsyncIterator))

PROVIDERS: Final = (
    Provider(
        lambda wiring, module, wanted: _is_repository(wanted),
        lambda given, wanted: Repository(get_args(wanted)[0], given.aggregates),
    ),
    Provider(
        lambda wiring, module, wanted: _is_view(wanted) and get_args(wanted)[0] in module.rows,
        lambda given, wanted: given.sources.view(get_args(wanted)[0]),
    ),
    Provider(
        lambda wiring, module, wanted: _is_sagas(wanted) and get_args(wanted)[0].__name__ in module.sagas,
        lambda given, wanted: Sagas(
            given.module.sagas[get_args(wanted)[0].__name__], Repository(SagaProcess, given.aggregates)
        ),
    ),
    Provider(
        lambda wiring, module, wanted: _is_events(wanted),
        lambda given, wanted: given.sources.events(),
    ),
    Provider(
        lambda wiring, module, wanted: wanted is Database,
        lambda given, wanted: Database(given.store),
    ),
    Provider(
        lambda wiring, module, wanted: wanted in wiring.owner_of,
        lambda given, wanted: given.sources.api(wanted),
    ),
    Provider(
        lambda wiring, module, wanted: wanted is module.settings,
        lambda given, wanted: given.settings,
    ),
    Provider(
        lambda wiring, module, wanted: wanted in module.provides,
        lambda given, wanted: given.adapter(wanted),
    ),
)


def _provider(wiring: Wiring, module: Module, annotation: Any) -> Provider | None:
    return next((provider for provider in PROVIDERS if provider.fits(wiring, module, annotation)), None)
