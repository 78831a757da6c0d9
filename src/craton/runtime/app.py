"""The application: modules put together and run."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, TypeVar, get_args, get_origin

from craton.application.api import Api, OperationDefinition, operation_of
from craton.application.context import Context
from craton.application.errors import WiringError
from craton.application.module import Module
from craton.application.projection import events_of
from craton.application.repository import Repository
from craton.application.sagas import Sagas
from craton.application.sagas.process import SagaProcess
from craton.application.settings import read_settings, unfit_for_production, variable
from craton.application.unit_of_work import Database
from craton.application.view import View
from craton.domain import Event, uuid7, world
from craton.domain.immutable import Immutable
from craton.ports import Store, StoreUnavailable
from craton.runtime.commands.calls import Call, copied, proxy
from craton.runtime.commands.results import Answer
from craton.runtime.commands.state_type import state_type
from craton.runtime.compatibility.names import keep_names
from craton.runtime.compatibility.registry import register_policies
from craton.runtime.compatibility.restored import Reader, Rounds
from craton.runtime.module import REST_SECONDS, RunningModule
from craton.runtime.module_map import ModuleMap, module_map
from craton.runtime.process.attempt import cancelled
from craton.runtime.process.settings import VARIABLES
from craton.runtime.projections.runner import ProjectionRunner

A = TypeVar("A", bound=Api)
Middleware = Callable[[Any], Any]
"""Takes an ASGI application and returns one around it."""

PING_SECONDS: Final = 2.0


class About(Immutable):
    """What the documentation of an application's API says of it."""

    version: str = "0"
    description: str = ""
    contact: str = ""
    """An e-mail address, a URL or a name."""
    licence: str = ""
    """As SPDX calls it, such as `Apache-2.0`."""


class App:
    """Modules, put together. Raises `WiringError` when two of them don't fit.

    `authenticate`, a query of one of them, tells who has a token: `async def authenticate(self, token: str) -> Caller`;
    it raises `Unauthenticated`. Given one, each route is closed to whom its guard doesn't admit.
    `about` stands at the head of its documentation.
    `fill` brings demo data in at each start that isn't told to be empty, so it must bear repetition; it returns
    sentences for whoever has started the application. `demo` is what `craton demo` shows,
    in a store that it is given; it returns whether all went well.
    `commands` are what the command line can do with it beside its own: Typer applications, by name.
    `middleware` is ASGI middleware between the server and the routes, the first outermost.
    `environment` is where the modules' settings are read.
    `copied_calls` is for tests: it encodes and decodes every call between modules, as a network would, and checks after
    every use case that only `apply` has changed the state of aggregates, and that a snapshot could hold it.
    """

    def __init__(
        self,
        name: str,
        *,
        modules: Sequence[Module],
        about: About | None = None,
        authenticate: Callable[..., Any] | None = None,
        fill: Callable[["App"], Awaitable[Sequence[str]]] | None = None,
        demo: Callable[[str], Awaitable[bool]] | None = None,
        commands: Mapping[str, Any] | None = None,
        middleware: Sequence[Middleware] = (),
        copied_calls: bool = False,
        clock: Callable[[], datetime] = world.now,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.name = name
        self.modules = {module.name: module for module in modules}
        if len(self.modules) < len(modules):
            raise WiringError(f"app {name}: two modules have the same name")
        self._owner_of = {module.api: module.name for module in modules}
        for module in modules:
            if self._owner_of[module.api] != module.name:
                raise WiringError(f"app {name}: two modules provide {module.api.__name__}")
        self._recorder_of = {
            event: module.name
            for module in modules
            for aggregate in module.aggregates
            if aggregate is not SagaProcess
            for event in events_of(aggregate)
        }
        for module in modules:
            for where, events in module.reactions:
                for event in events:
                    if event not in self._recorder_of:
                        raise WiringError(f"app {name}: {where} reacts to {event.__name__}, which no module records")
        self.about = about or About()
        self.authenticate = None if authenticate is None else operation_of(authenticate)
        self._fill = fill
        self.demo = demo
        self.commands = dict(commands or {})
        self.middleware = tuple(middleware)
        self._clock = clock
        self.environment = environment
        self._running: dict[str, RunningModule] = {}
        self._copied_calls = copied_calls
        self._call: Call = copied(self.call) if copied_calls else self.call

    @property
    def running(self) -> dict[str, RunningModule]:
        """The modules that are running, by name."""
        return self._running

    @asynccontextmanager
    async def run(
        self, open_store: Callable[[str], Store], *, subscriptions: bool = True, looking: bool = False
    ) -> AsyncIterator["App"]:
        """Run all modules, each in the store that `open_store` makes for its name, while the block lasts.

        Without `subscriptions` nothing goes on in the background: no projections, no timers. `looking`: what runs the
        modules' own code, with their settings and adapters, is only made when it is called.
        Raises `WiringError` or `StoreUnavailable`.
        """
        owner = f"{socket.gethostname()}/{os.getpid()}/{uuid7()}"
        opened: list[RunningModule] = []
        noting: asyncio.Task[None] | None = None
        try:
            for module in self.modules.values():
                running = RunningModule(
                    module,
                    open_store(module.name),
                    owner,
                    self._clock,
                    self.api,
                    self.environment,
                    check_all=self._copied_calls,
                )
                if not looking:
                    running.make()
                await running.store.open()
                opened.append(running)
                self._running[module.name] = running
            stores = [(running.module, running.store) for running in opened]
            self.rounds = Rounds(
                self.name, {module.name: store for module, store in stores}, self._readers, self._clock
            )
            await keep_names(self.name, stores, working=subscriptions)
            if subscriptions:
                await self.rounds.check()
                await register_policies(self.name, stores)
            for running in opened:
                await running.prepare()
            if subscriptions:
                for running in opened:
                    running.start_background(lambda event: self._running[self._recorder_of[event]])
                noting = asyncio.create_task(self.rounds.run(), name="rounds")
            yield self
        finally:
            if noting is not None:
                await cancelled([noting], REST_SECONDS)
            # All of them come to rest before the first is closed: what one still does may need another.
            await asyncio.gather(*(running.rest() for running in opened))
            if noting is not None:
                await self.rounds.end()
            await asyncio.gather(*(running.close() for running in opened))
            self._running.clear()

    @property
    def _readers(self) -> list[Reader]:
        """The subscriptions by which one module's events change what other modules have stored."""
        readers: list[Reader] = []
        for module in self.modules.values():
            for name, policy in module.policies.items():
                called = {self._owner_of[api] for api in policy.dependencies.values() if api in self._owner_of}
                readers += self._readers_of(name, policy.events, {module.name, *called})
            for definition in module.sagas.values():
                for step, events in definition.awaits.items():
                    readers += self._readers_of(f"{module.name}.{definition.name}.{step}", events, {module.name})
        return readers

    def _readers_of(self, name: str, events: Sequence[type[Event]], modules: set[str]) -> Iterator[Reader]:
        for source in dict.fromkeys(self._recorder_of[event] for event in events):
            if modules - {source}:
                yield Reader(name, source, frozenset(modules - {source}))

    @property
    def event_readers(self) -> Iterator[tuple[str, str]]:
        """The policies and the steps of sagas that wait, by name, each with a module whose events it reads."""
        for module in self.modules.values():
            reading = {name: policy.events for name, policy in module.policies.items()}
            for definition in module.sagas.values():
                for step, events in definition.awaits.items():
                    reading[f"{module.name}.{definition.name}.{step}"] = events
            for name, events in reading.items():
                for source in dict.fromkeys(self._recorder_of[event] for event in events):
                    yield name, source

    @property
    def map(self) -> ModuleMap:
        """What the modules offer, which of them call each other, and which listen to which."""
        return module_map(self.modules, self._owner_of, self._recorder_of)

    @property
    def projections(self) -> dict[str, ProjectionRunner]:
        """The projections of the running modules, as `module.projection`."""
        return {
            f"{module}.{name}": runner
            for module, running in self._running.items()
            for name, runner in running.projections.items()
        }

    def find_projections(self, name: str) -> list[ProjectionRunner]:
        """Those that a name means: `module.projection`, or `projection`, which two modules may both have."""
        return [runner for full, runner in self.projections.items() if name in (full, full.partition(".")[2])]

    def api(self, api: Callable[..., A]) -> A:
        """Return a proxy of a module's Api. Raises `WiringError` when no module provides it."""
        contract: Any = api  # it is abstract to type checkers
        if contract not in self._owner_of:
            raise WiringError(f"app {self.name}: no module provides {contract.__name__}")
        return proxy(api, self._call)

    async def call(self, operation: OperationDefinition, arguments: dict[str, Any], context: Context) -> Answer:
        """Run one operation of a module."""
        running = self._running.get(self._owner_of[operation.api])
        if running is None:
            raise WiringError(f"app {self.name}: {operation} was called while the app is not running")
        return await running.use_cases.run(operation, arguments, context)

    async def begin(self, *, empty: bool) -> list[str]:
        """Do what the modules want done before they serve, and bring demo data in unless it is to be empty.

        Returns sentences for whoever has started the application.
        """
        said = [f"{name} is set, but there is no such setting." for name in self._unread_settings()]
        said += [sentence for running in self._running.values() for sentence in await running.run_start_hook()]
        return said if empty or self._fill is None else [*said, *await self._fill(self)]

    def unfit_for_production(self) -> Iterator[str]:
        """Yield a sentence for each setting with which it can't be used in earnest. Raises `WiringError`."""
        for module in self.modules.values():
            settings = read_settings(module.settings, module.name, self.environment)
            yield from unfit_for_production(settings, module.name)

    def _unread_settings(self) -> list[str]:
        """Variables that look like a setting, and aren't."""
        modules = self.modules.values()
        known = {variable(module.name, field) for module in modules for field in module.settings.__struct_fields__}
        known |= VARIABLES
        return sorted(name for name in self.environment if name.startswith("CRATON_") and name not in known)

    async def failing(self) -> dict[str, str]:
        """Touch every store; return the modules whose store doesn't answer, or not soon, and why."""
        problems = await asyncio.gather(*(_problem_of(running.store) for running in self._running.values()))
        return {name: problem for name, problem in zip(self._running, problems, strict=True) if problem}

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
            for where, name, hint in module.dependencies:
                if not self._provided(module, hint):
                    yield f"module {module.name}: {where} asks for {name}: {_shown(hint)}, which nothing provides"

    def _provided(self, module: Module, hint: Any) -> bool:
        if get_origin(hint) in (Repository, View, Sagas):
            return bool(get_args(hint))
        if isinstance(hint, type) and issubclass(hint, Api):
            return hint in self._owner_of
        return hint in (*module.provides, module.settings, Database) or get_origin(hint) is AsyncIterator


async def _problem_of(store: Store) -> str | None:
    try:
        async with asyncio.timeout(PING_SECONDS):
            await store.ping()
    except StoreUnavailable as problem:
        return str(problem)
    except TimeoutError:
        return f"The store hasn't answered within {PING_SECONDS:g} seconds."
    return None


def _shown(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint))
