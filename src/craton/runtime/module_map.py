"""The map of an application: its modules, which of them call each other, and which listen to each other's events."""

from collections.abc import Iterator, Mapping

from craton.application.api import Api
from craton.application.module import Module
from craton.domain import Event
from craton.domain.immutable import Immutable


class ModuleOnMap(Immutable):
    """A module as other modules see it."""

    name: str
    api: str
    queries: tuple[str, ...]
    commands: tuple[str, ...]
    sagas: tuple[str, ...]

    @property
    def counts(self) -> str:
        """The number of its commands and queries, in words."""
        queries, commands = len(self.queries), len(self.commands)
        return f"{queries} {'query' if queries == 1 else 'queries'}, {commands} command{'' if commands == 1 else 's'}"


class Arrow(Immutable):
    """An arrow from a module to one that it calls, or to one whose events it listens to."""

    source: str
    target: str
    parts: tuple[str, ...]
    """The parts that call or listen: the service, `Saga.step`, a policy, a function."""
    events: tuple[str, ...] = ()
    """The events that are listened to; empty for calls."""


class ModuleMap(Immutable):
    """Calls and listening are separate: calls must not form a circle, but listening may go against them."""

    modules: tuple[ModuleOnMap, ...]
    calls: tuple[Arrow, ...]
    listening: tuple[Arrow, ...]

    def cycle(self) -> tuple[str, ...]:
        """The modules of a circle of calls, with the first one again at the end; empty if there is none."""
        targets: dict[str, list[str]] = {module.name: [] for module in self.modules}
        for call in self.calls:
            targets[call.source].append(call.target)
        finished: set[str] = set()

        def search(name: str, path: tuple[str, ...]) -> tuple[str, ...]:
            if name in path:
                return (*path[path.index(name) :], name)
            if name in finished:
                return ()
            for target in targets[name]:
                if found := search(target, (*path, name)):
                    return found
            finished.add(name)
            return ()

        for module in self.modules:
            if found := search(module.name, ()):
                return found
        return ()

    def between(self, source: str, target: str) -> tuple[str, ...]:
        """The parts of one module that call another."""
        return next((call.parts for call in self.calls if (call.source, call.target) == (source, target)), ())


def module_map(
    modules: Mapping[str, Module], owner_of: Mapping[type[Api], str], recorder_of: Mapping[type[Event], str]
) -> ModuleMap:
    """Derive the map from what the modules' parts declare and react to."""
    return ModuleMap(
        modules=tuple(
            ModuleOnMap(
                name=module.name,
                api=module.api.__name__,
                queries=_operations(module, "query"),
                commands=_operations(module, "command"),
                sagas=tuple(module.sagas),
            )
            for module in modules.values()
        ),
        calls=tuple(arrow for module in modules.values() for arrow in _calls(module, owner_of)),
        listening=tuple(arrow for module in modules.values() for arrow in _listening(module, recorder_of)),
    )


def _operations(module: Module, kind: str) -> tuple[str, ...]:
    return tuple(operation.name for operation in module.api.operations.values() if operation.kind == kind)


def _calls(module: Module, owner_of: Mapping[type[Api], str]) -> Iterator[Arrow]:
    parts: dict[str, dict[str, None]] = {}
    for _, part, _, annotation in module.dependencies:
        target = owner_of.get(annotation)
        if target not in (None, module.name):
            parts.setdefault(str(target), {})[part] = None
    for target, names in parts.items():
        yield Arrow(source=module.name, target=target, parts=tuple(names))


def _listening(module: Module, recorder_of: Mapping[type[Event], str]) -> Iterator[Arrow]:
    heard: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for part, events in module.reactions:
        for event in events:
            if recorder_of[event] != module.name:
                names, kinds = heard.setdefault(recorder_of[event], ({}, {}))
                names[part] = kinds[event.__name__] = None
    for target, (names, kinds) in heard.items():
        yield Arrow(source=module.name, target=target, parts=tuple(names), events=tuple(kinds))
