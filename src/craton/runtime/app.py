"""The application: puts modules together and runs them."""

import asyncio
import copy
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import structlog

from craton.application.api import Api, OperationDefinition, operation_of
from craton.application.context import Context
from craton.application.errors import Unavailable, WiringError
from craton.application.module import Module
from craton.application.settings import read_settings, unfit_for_production, variable
from craton.application.unit_of_work import current_unit, dual_write
from craton.application.upcasting import stored_names
from craton.domain import uuid7, world
from craton.domain.immutable import Immutable
from craton.ports import SharedCache, Store, StoreUnavailable
from craton.runtime.background import ERROR_PAUSE_SECONDS, Clock
from craton.runtime.commands.calls import Call, copied, proxy
from craton.runtime.commands.results import Answer
from craton.runtime.compatibility.names import keep_names
from craton.runtime.compatibility.readers import Reader, move_readers_home
from craton.runtime.compatibility.registry import register_policies
from craton.runtime.compatibility.restored import Rounds
from craton.runtime.module import REST_SECONDS, Host, RunningModule
from craton.runtime.operations.api import Operations
from craton.runtime.operations.calls import call_operations
from craton.runtime.operations.everywhere import operate_everywhere
from craton.runtime.process.attempt import cancelled
from craton.runtime.projections.projection import RunningProjection
from craton.runtime.remote import Remote, RemoteLog
from craton.runtime.retention import Retention
from craton.runtime.settings import VARIABLES
from craton.runtime.subscriptions.source import Source
from craton.runtime.subscriptions.watch import Watch
from craton.runtime.wiring import Wiring

A = TypeVar("A", bound=Api)
Middleware = Callable[[Any], Any]
"""Takes an ASGI application and returns one around it."""

PING_SECONDS: Final = 2.0
START_SECONDS: Final = 60.0
"""How long a start hook waits for other services."""

log = structlog.get_logger("craton.app")


_KEPT_AS_USUAL: Final = Retention()


class About(Immutable):
    """The description of an application, which its API's documentation shows."""

    version: str = "0"
    description: str = ""
    contact: str = ""
    """An e-mail address, a URL or a name."""
    licence: str = ""
    """The SPDX identifier, such as `Apache-2.0`."""


class App:
    """Modules, put together. Raises `WiringError` when two of them don't fit.

    `authenticate`, a query of one of the modules, finds the caller by its token: `async def authenticate(self, token:
    str) -> Caller`. It raises `Unauthenticated` for an unknown token. If the app has it, each route is open only to the
    callers that its guard admits. `about` stands at the head of the API's documentation. `fill` adds demo data at each
    start without `--empty`, so it must be repeatable; it returns sentences that are shown at start. `demo` is what
    `craton demo` runs, in a store that it is given; it returns whether everything succeeded.
    `commands` are Typer applications, by name, that the command line offers beside its own commands.
    `operators` are the roles whose holders may use `Operations`.
    `middleware` is ASGI middleware between the server and the routes, the first outermost.
    `environment` holds the variables that the modules' settings are read from.
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
        operators: Sequence[str] = ("admin",),
        middleware: Sequence[Middleware] = (),
        copied_calls: bool = False,
        clock: Clock = world.now,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.name = name
        self.wiring = Wiring(name, modules)
        self.modules = self.wiring.modules
        """The modules that run in this process."""
        self.about = about or About()
        self.authenticate = None if authenticate is None else operation_of(authenticate)
        self._fill = fill
        self.demo = demo
        self.commands = dict(commands or {})
        self.middleware = tuple(middleware)
        self.operators = frozenset(operators)
        self._clock = clock
        self.environment = environment
        self._running: dict[str, RunningModule] = {}
        self._remote: Remote | None = None
        self.calls: Counter[tuple[str, str]] = Counter()
        """How often the parts of one module have called another module, in this process."""
        self.caller_seconds = 0.0
        """How long a caller is remembered that was found by its token."""
        self._copied_calls = copied_calls
        self._call: Call = copied(self.call) if copied_calls else self.call

    @property
    def running(self) -> dict[str, RunningModule]:
        """The modules that are running, by name."""
        return self._running

    def altered(
        self,
        *,
        adapters: Mapping[Any, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> "App":
        """A copy for tests, with other adapters for some ports, another environment or clock, and copied calls.

        Raises `WiringError` for a port that no module has an adapter for.
        """
        adapters = adapters or {}
        for port in adapters:
            if not any(port in module.provides for module in self.modules.values()):
                raise WiringError(f"app {self.name}: no module has an adapter for {getattr(port, '__name__', port)}")
        twin = copy.copy(self)
        twin.wiring = Wiring(self.name, [module.with_adapters(adapters) for module in self.modules.values()])
        twin.modules = twin.wiring.modules
        twin.environment = self.environment if environment is None else environment
        twin._clock = clock or self._clock
        twin._running = {}
        twin.calls = Counter()
        twin._copied_calls = True
        twin._call = copied(twin.call)
        return twin

    def part(self, modules: Collection[str], remote: Remote, *, caller_seconds: float = 0.0) -> "App":
        """The same app, of which only some modules run in this process; the others are reached through `remote`.

        `caller_seconds` says how long a caller is remembered that another service has found by its token.
        """
        twin = copy.copy(self)
        twin.modules = {name: module for name, module in self.wiring.modules.items() if name in modules}
        twin._running = {}
        twin.calls = Counter()
        twin._remote = remote
        twin.caller_seconds = caller_seconds
        twin._call = copied(twin.call) if twin._copied_calls else twin.call
        return twin

    def together(self, running: Mapping[str, RunningModule]) -> "App":
        """The same app, with modules that other apps of this process run."""
        twin = copy.copy(self)
        twin._running = {name: running[name] for name in self.modules}
        twin._call = copied(twin.call) if twin._copied_calls else twin.call
        return twin

    @asynccontextmanager
    async def run(
        self,
        open_store: Callable[[str], Store],
        *,
        subscriptions: bool = True,
        looking: bool = False,
        retention: Retention = _KEPT_AS_USUAL,
        cache: SharedCache | None = None,
    ) -> AsyncIterator["App"]:
        """Run all modules while the block lasts, each in the store that `open_store` makes for its name.

        Without `subscriptions` nothing goes on in the background: no projections, no timers. Data of an older
        program are refused then, not upgraded. `looking`: what runs the modules' own code, with their settings and
        adapters, is only made when it is called. `retention` says how long what is only of use for a time is kept.
        `cache` is what processes share rows through that they keep in memory.
        Raises `WiringError` or `StoreUnavailable`.
        """
        for problem in self.wiring.unprovided():
            raise WiringError(problem)
        host = Host(
            wiring=self.wiring,
            owner=f"{socket.gethostname()}/{os.getpid()}/{uuid7()}",
            clock=self._clock,
            find_api=self._api_for,
            environment=self.environment,
            operators=self.operators,
            retention=retention,
            cache=cache,
            check_all=self._copied_calls,
        )
        opened: list[RunningModule] = []
        tasks: list[asyncio.Task[None]] = []
        rounds: Rounds | None = None
        try:
            made = {name: RunningModule(module, open_store(name), host) for name, module in self.modules.items()}
            logs = self._remote_logs()
            sources = {name: running.source for name, running in made.items()}
            sources |= {name: Source.of(self.wiring.modules[name], log) for name, log in logs.items()}
            for running in made.values():
                running.link(sources)
                running.sources = sources
            for running in made.values():
                if not looking:
                    running.make()
                await running.store.open(upgrade=subscriptions)
                opened.append(running)
                self._running[running.module.name] = running
            stores = {running.module.name: running.store for running in opened}
            readers = [reader for reader in self.event_readers if reader.source in stores]
            self.rounds = rounds = Rounds(self.name, stores, readers, self._clock)
            modules = [(running.module, running.store) for running in opened]
            await keep_names(self.name, modules, working=subscriptions)
            if subscriptions:
                await move_readers_home(readers, stores)
                await self.rounds.check()
                await register_policies(self.name, modules)
            watches = [
                Watch(sources[name], log, next(one.store for one in opened if name in self._heard_by(one.module)))
                for name, log in logs.items()
            ]
            for watch in watches:
                await watch.recall()
            for running in opened:
                await running.prepare()
            if subscriptions:
                tasks.append(asyncio.create_task(rounds.run(), name="rounds"))
                tasks += [asyncio.create_task(watch.run()) for watch in watches]
                for running in opened:
                    running.start_background(sources)
            yield self
        finally:
            await cancelled(tasks, REST_SECONDS)
            # All modules stop their work before the first is closed, because the work of one may need another.
            await asyncio.gather(*(running.rest() for running in opened))
            if rounds is not None and tasks:
                await rounds.end()
            await asyncio.gather(*(running.close() for running in opened))
            self._running.clear()

    def _remote_logs(self) -> dict[str, RemoteLog]:
        """The logs of other services that the modules of this process read."""
        types: dict[str, set[str]] = {}
        for module in self.modules.values():
            for source, names in self._heard_by(module).items():
                if source not in self.modules:
                    types.setdefault(source, set()).update(names)
        return {} if self._remote is None else {name: self._remote.log(name, types[name]) for name in sorted(types)}

    def _heard_by(self, module: Module) -> dict[str, set[str]]:
        """The modules whose logs a module reads, each with the names under which its events are stored."""
        heard: dict[str, set[str]] = {}
        for _, events in module.reactions:
            for source, kinds in self.wiring.recorders(events).items():
                heard.setdefault(source, set()).update(stored_names(kinds))
        return heard

    @property
    def event_readers(self) -> Iterator[Reader]:
        """The policies and the steps of sagas that wait, once for each module whose events they read."""
        owners = self.wiring.owner_of
        for module in self.modules.values():
            for name, policy in module.policies.items():
                called = {owners[api] for api in policy.dependencies.values() if api in owners}
                for source in self.wiring.recorders(policy.events):
                    yield Reader(name, source, module.name, frozenset({module.name, *called}))
            for definition in module.sagas.values():
                for step, events in definition.awaits.items():
                    for source in self.wiring.recorders(events):
                        name = f"{module.name}.{definition.name}.{step}"
                        yield Reader(name, source, module.name, frozenset({module.name}))

    @property
    def projections(self) -> dict[str, RunningProjection]:
        """The projections of the running modules, as `module.projection`."""
        return {
            f"{module}.{name}": runner
            for module, running in self._running.items()
            for name, runner in running.projections.items()
        }

    def find_projections(self, name: str) -> list[RunningProjection]:
        """The projections with a name: `module.projection`, or `projection`, which two modules may both have."""
        return [runner for full, runner in self.projections.items() if name in (full, full.partition(".")[2])]

    def api(self, api: Callable[..., A]) -> A:
        """Return a proxy of a module's Api. Raises `WiringError` when no module provides it."""
        contract: Any = api  # it is abstract to type checkers
        if contract not in self.wiring.owner_of:
            raise WiringError(f"app {self.name}: no module provides {contract.__name__}")
        return proxy(api, self._call)

    def _api_for(self, caller: str, api: Callable[..., A]) -> A:
        """A proxy of a module's Api for a part of the module `caller`, whose calls are counted."""
        contract: Any = api
        route = caller, self.wiring.owner_of[contract]

        async def counted(operation: OperationDefinition, arguments: dict[str, Any], context: Context) -> Answer:
            self.calls[route] += 1
            return await self._call(operation, arguments, context)

        return proxy(api, counted)

    async def call(self, operation: OperationDefinition, arguments: dict[str, Any], context: Context) -> Answer:
        """Run one operation of a module."""
        owner = self.wiring.owner_of[operation.api]
        running = self._running.get(owner)
        if running is None:
            if self._remote is not None and owner not in self.modules:
                if operation.kind == "command" and (unit := current_unit()) is not None:
                    raise dual_write(str(operation), owner, unit)
                return await self._remote.call(owner, operation, arguments, context)
            raise WiringError(f"app {self.name}: {operation} was called while the app is not running")
        return await running.use_cases.run(operation, arguments, context)

    @property
    def operations(self) -> Operations:
        """What operators see of the running app, and what they can do to it."""
        return proxy(Operations, self.operate)

    async def operate(self, operation: OperationDefinition, arguments: dict[str, Any], context: Context) -> Answer:
        """Run one operation of `Operations`, over all services."""
        if self._remote is None:
            return await self.operate_here(operation, arguments, context)
        return await operate_everywhere(self._remote, self.operate_here, operation, arguments, context)

    async def operate_here(self, operation: OperationDefinition, arguments: dict[str, Any], context: Context) -> Answer:
        """Run one operation of `Operations` for the modules of this process."""
        if not self._running:
            raise WiringError(f"app {self.name}: {operation} was called while the app is not running")
        return await call_operations(self._running, list(self.event_readers), operation, arguments, context)

    async def begin(self, *, empty: bool) -> list[str]:
        """Run the modules' start hooks, and add demo data unless `empty`.

        Returns sentences that are shown at start.
        """
        said = [f"{name} is set, but there is no such setting." for name in self._unread_settings()]
        for running in self._running.values():
            said += await self._run_start_hook(running)
        return said if empty else [*said, *await self.add_demo_data()]

    async def _run_start_hook(self, running: RunningModule) -> Sequence[str]:
        """Run a start hook. If it calls another service that isn't up yet, it runs again, for a minute at most."""
        until = world.monotonic() + START_SECONDS
        while True:
            try:
                return await running.run_start_hook()
            except Unavailable as problem:
                if self._remote is None or world.monotonic() > until:
                    raise
                log.warning("a start hook waits for another service", module=running.module.name, reason=str(problem))
                await asyncio.sleep(ERROR_PAUSE_SECONDS)

    async def add_demo_data(self) -> Sequence[str]:
        """Add demo data, if the app has any; return sentences that are shown at start."""
        return () if self._fill is None else await self._fill(self)

    def unfit_for_production(self) -> Iterator[str]:
        """Yield a sentence for each setting that is unfit for production. Raises `WiringError`."""
        for module in self.modules.values():
            settings = read_settings(module.settings, module.name, self.environment)
            yield from unfit_for_production(settings, module.name)

    def _unread_settings(self) -> list[str]:
        """The variables that look like settings but aren't."""
        modules = self.wiring.modules.values()
        known = {variable(module.name, field) for module in modules for field in module.settings.__struct_fields__}
        known |= VARIABLES
        return sorted(name for name in self.environment if name.startswith("CRATON_") and name not in known)

    @property
    def away(self) -> Sequence[str]:
        """The other services that haven't answered when they were last asked."""
        return () if self._remote is None else self._remote.away

    async def failing(self) -> dict[str, str]:
        """Ask every store; return the modules whose store doesn't answer in time, with the reasons."""
        problems = await asyncio.gather(*(_problem_of(running.store) for running in self._running.values()))
        return {name: problem for name, problem in zip(self._running, problems, strict=True) if problem}


async def _problem_of(store: Store) -> str | None:
    try:
        async with asyncio.timeout(PING_SECONDS):
            await store.ping()
    except StoreUnavailable as problem:
        return str(problem)
    except TimeoutError:
        return f"The store hasn't answered within {PING_SECONDS:g} seconds."
    return None
