"""A running module: its open store, its use cases and its background tasks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from inspect import iscoroutinefunction
from typing import Any, Final

import msgspec
import structlog

from craton.application.api import Api
from craton.application.codec import fingerprint, holds_secrets
from craton.application.dependencies import Dependencies, dependencies_of
from craton.application.errors import WiringError
from craton.application.module import Module
from craton.application.operators import OperatorLog
from craton.application.policy import Policy
from craton.application.projection import ProjectionDefinition
from craton.application.repository import Repository
from craton.application.sagas.index import SagaIndex, SagaRow
from craton.application.sagas.rules import SagaProcess
from craton.application.settings import Settings, read_settings
from craton.application.view import View, ViewSource
from craton.domain import DomainError, Event, Recorded
from craton.ports import (
    Changeset,
    DocumentChanged,
    SerializationConflict,
    SharedCache,
    Statement,
    Store,
)
from craton.runtime.background import Background, Clock
from craton.runtime.commands.aggregates import Aggregates
from craton.runtime.commands.execution import Resources
from craton.runtime.commands.use_cases import UseCases
from craton.runtime.committer import Committer, write_alone
from craton.runtime.limits import LIMITS, Limits
from craton.runtime.process.attempt import cancelled
from craton.runtime.projections.generations import LiveInline, retire
from craton.runtime.projections.handler import describe
from craton.runtime.projections.inline import InlineProjections
from craton.runtime.projections.projection import RunningProjection
from craton.runtime.projections.row_cache import RowCache
from craton.runtime.projections.shared_rows import SharedRows
from craton.runtime.projections.verification import differing_snapshots
from craton.runtime.retention import Forgetting, Retention
from craton.runtime.sagas.control import SagaControlService
from craton.runtime.sagas.host import SagaHost
from craton.runtime.sagas.runner import SUBSCRIPTION
from craton.runtime.subscriptions.lease import ASK_SECONDS, Lease
from craton.runtime.subscriptions.policies import PolicyHandler, React, by_stream
from craton.runtime.subscriptions.seals import NAME as SEALING
from craton.runtime.subscriptions.seals import SEALS, SealHandler, broken_seals
from craton.runtime.subscriptions.source import Source
from craton.runtime.subscriptions.subscription import PLAIN, Options, Subscription
from craton.runtime.subscriptions.timers import TimerRunner
from craton.runtime.wiring import Provisions, Sources, Wiring

REST_SECONDS: Final = 2.0
TABLES_LEASE: Final = "tables"
ADAPTER_SECONDS = 1.0

log = structlog.get_logger("craton.module")


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What an app gives to each of its modules."""

    wiring: Wiring
    owner: str
    clock: Clock
    find_api: Callable[[str, Any], Api]
    """Returns a proxy of an Api for the module of a name."""
    environment: Mapping[str, str]
    operators: frozenset[str]
    """The roles that operators have."""
    retention: Retention
    cache: SharedCache | None
    """What processes share rows through."""
    check_all: bool
    """Whether every change of an aggregate's state is checked, for tests."""


class RunningModule:
    """One module with its store open."""

    def __init__(self, module: Module, store: Store, host: Host) -> None:
        self.module = module
        if module.database is not None:
            store = module.database(store, self._read_settings(host))
        self.store = store
        self._wiring = host.wiring
        self._operators = host.operators
        self._retention = host.retention
        self._tasks: list[asyncio.Task[None]] = []
        self._resting = False
        self.source = Source.of(module, store)
        aggregates = Aggregates(store, module.events, check_all=host.check_all)
        self._committer = Committer(store, self.source.signal.fire)
        self.background = Background(
            module=module.name,
            store=store,
            source=module.name,
            events=module.events,
            # Where a single writer writes everything, pages share its commits; elsewhere they needn't wait for it.
            commit=self._committer.submit if store.writers == 1 else partial(write_alone, store),
            feed=self.source.feed,
            signal=self.source.signal,
            owner=host.owner,
            clock=host.clock,
        )
        has_limits = any(route.limit is not None for route in module.routes)
        self.limits = Limits(store, self._committer.submit, host.clock) if has_limits else None
        """The counts of requests, if any of its routes has a limit."""
        self._live_inline = LiveInline(store)
        self._definitions = {
            name: definition if definition.settings_class is None else definition.using(self._read_settings(host))
            for name, definition in module.projections.items()
        }
        self.projections = {
            name: RunningProjection(definition, self.background, self._committer, self._live_inline)
            for name, definition in self._definitions.items()
            if name not in module.foreign
        }
        inline = InlineProjections(self._live_inline, module.events, self.projections)
        self._resources = Resources(module.name, store, aggregates, self._committer, inline, host.clock)
        self._caches = {
            name: RowCache(
                definition,
                self.background,
                lambda: self._committer.newest,
                self._proven,
                _shared(definition, host, module),
            )
            for name, definition in self._definitions.items()
            if definition.cached
        }
        self._provisions = Provisions(
            host.wiring,
            module,
            store,
            aggregates,
            Sources(self.view, self._recorded, partial(host.find_api, module.name)),
            host.environment,
        )
        self.sources: Mapping[str, Source] = {}
        """The logs that are read in this process, by the names of their modules."""
        self._foreign: dict[str, Source] = {}
        """The logs of other modules that projections read."""

    def _read_settings(self, host: Host) -> Settings:
        return read_settings(self.module.settings, self.module.name, host.environment)

    def link(self, sources: Mapping[str, Source]) -> None:
        """Make the projections that read the logs of other modules."""
        for name in self.module.foreign:
            source = sources[self._wiring.source_of(self.module.foreign[name])]
            background = msgspec.structs.replace(
                self.background, source=source.module, events=source.events, feed=source.feed, signal=source.signal
            )
            self.projections[name] = RunningProjection(
                self._definitions[name], background, self._committer, self._live_inline
            )
            self._foreign[name] = source

    # Everything that runs the module's own code is made at first use, because looking at data needs none of it.

    @cached_property
    def use_cases(self) -> UseCases:
        return UseCases(self.module.service(**self.provide(self.module.service_dependencies)), self._resources)

    @cached_property
    def sagas(self) -> SagaHost | None:
        if not self.module.sagas:
            return None
        aggregates, rows = self._resources.aggregates, self.view(SagaRow)
        control = SagaControlService(
            Repository(SagaProcess, aggregates),
            Repository(OperatorLog, aggregates),
            rows,
            self.module.sagas,
            self._operators,
        )
        use_cases = UseCases(control, self._resources)
        return SagaHost(self.module.sagas, rows, use_cases, self.provide, self.background)

    @cached_property
    def timers(self) -> TimerRunner:
        return TimerRunner(self.module.api, self.use_cases, self.background)

    def make(self) -> None:
        """Make everything that runs the module's own code. Raises `WiringError`."""
        _ = self._provisions.settings, self.timers, self.sagas and self.sagas.runner

    async def prepare(self) -> None:
        """Create what is missing in the open store, and prepare the projections."""
        await self._make_tables()
        if self.module.sealed:
            await self.store.create_table(SEALS)
        if self.limits is not None:
            await self.store.create_table(LIMITS)
            await self.store.create_indexes(LIMITS)
        if not self.module.sagas and await self.store.document(f"projection/{SagaIndex.name}") is not None:
            log.error(
                "the module no longer has sagas, but some have not ended; they wait for a program that has them",
                module=self.module.name,
            )
        await self._retire_inline()
        for projection in self.projections.values():
            await projection.prepare()
        self.store.watch(self.background.signal.fire)

    async def _make_tables(self) -> None:
        """Make the module's own tables; one process at a time, because IF NOT EXISTS doesn't help two at once."""
        if not self.module.tables:
            return
        lease = Lease(self.store, TABLES_LEASE, self.background.owner)
        while await lease.hold() is None:
            await asyncio.sleep(ASK_SECONDS)
        try:
            for sql in self.module.tables:
                (outcome,) = await self.store.write([Changeset(statements=[Statement(sql, {})])])
                if isinstance(outcome, Exception):
                    raise WiringError(f"module {self.module.name}: its tables can't be made: {outcome}")
        finally:
            await lease.release()

    async def _retire_inline(self) -> None:
        """Retire inline projections that are live in the store but that the module has listed as `retired`."""
        await self._live_inline.refresh()
        for name in sorted(self._live_inline.generations.keys() - self.projections.keys()):
            while name in self.module.retired and name in self._live_inline.generations:
                with contextlib.suppress(DocumentChanged, SerializationConflict):  # another process was faster
                    await retire(name, self.store, self._live_inline)
                await self._live_inline.refresh()

    async def run_start_hook(self) -> Sequence[str]:
        """Run the module's `start` hook; return its sentences, which are shown at start."""
        start = self.module.start
        if start is None:
            return ()
        return await start(**self.provide(dependencies_of(start, f"module {self.module.name}")))

    def start_background(self, sources: Mapping[str, Source]) -> None:
        """Start reading the feed, running timers and sagas, and reacting to the events of the `sources`."""
        reactions = list(self._reactions(sources))  # first, because their dependencies may be refused
        runs = [
            self.timers.run(),
            *(projection.runner.run() for projection in self.projections.values()),
            *(cache.run() for cache in self._caches.values()),
            self.forgetting.run(),
        ]
        if self.module.sealed:
            runs.append(self._subscribe(SEALING, SealHandler(self.store)).run())
        runs += [subscription.run() for subscription in reactions]
        if self.sagas is not None:
            told = self._subscribe(SUBSCRIPTION, self.sagas.runner, Options(is_harmless=True))
            runs += [told.run(), self.sagas.runner.run(told)]
        self._tasks = [asyncio.create_task(run) for run in runs]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    @cached_property
    def forgetting(self) -> Forgetting:
        if not self.module.sagas:
            return Forgetting(self.background, self._retention, self.limits, None, None)
        sagas = self.projections[SagaIndex.name]
        return Forgetting(self.background, self._retention, self.limits, sagas, self.view(SagaRow))

    def _subscribe(self, name: str, handler: Any, options: Options = PLAIN) -> Subscription:
        """A subscription to the module's own log."""
        self.source.readers.append((self.store, name))
        return Subscription(name, self.background, handler, options=options)

    def _reactions(self, sources: Mapping[str, Source]) -> Iterator[Subscription]:
        """A subscription for each policy, and each step that waits, to each module whose events it handles."""
        for name, reaction in self.module.policies.items():
            policy = reaction.kind()
            react = partial(policy.react, **self.provide(reaction.dependencies))
            for source, events in self._wiring.recorders(reaction.events).items():
                types = sources[source].events
                handler = PolicyHandler(name, events, react, reaction.kind, types, policy.key)
                yield self._listen(sources[source], handler)
        if self.sagas is not None:
            for definition, step in self.sagas.waiting:
                name = f"{self.module.name}.{definition.name}.{step.name}"
                deliver: React = self.sagas.deliver(definition, step)
                for source, events in self._wiring.recorders(definition.awaits[step.name]).items():
                    types = sources[source].events
                    yield self._listen(sources[source], PolicyHandler(name, events, deliver, Policy, types, by_stream))

    def _listen(self, source: Source, handler: PolicyHandler) -> Subscription:
        """A subscription to another module's log; its progress lies in this module's store."""
        name = reader_name(handler.name, source.module)
        source.readers.append((self.store, name))
        options = Options(has_effects=handler.concerns)
        subscription = Subscription(name, self.background, handler, feed=source.feed, options=options)
        handler.is_owned = subscription.is_owned
        return subscription

    async def _proven(self) -> int:
        """A position that a reader of the feed has reached, so that no event before it is missing."""
        return max([await store.checkpoint(name) for store, name in self.source.readers], default=0)

    async def rest(self) -> None:
        """Stop the background tasks."""
        self._resting = True
        left = await cancelled(self._tasks, REST_SECONDS)
        if left:
            log.error(
                "background tasks did not end in time",
                module=self.module.name,
                tasks=[task.get_name() for task in left],
            )

    async def close(self) -> None:
        """Finish the units that were handed in; then close the adapters and the store. All of it is bounded in time."""
        made = self._provisions.adapters.values()
        adapters = [one for one in made if iscoroutinefunction(getattr(one, "close", None))]
        await asyncio.gather(self._committer.drain(), *map(self._close_adapter, adapters))
        await self.store.close()

    async def _close_adapter(self, adapter: Any) -> None:
        try:
            async with asyncio.timeout(ADAPTER_SECONDS):
                await adapter.close()
        except Exception as problem:
            name = type(adapter).__name__
            log.error("an adapter could not be closed", module=self.module.name, adapter=name, reason=describe(problem))

    async def verify(self) -> AsyncIterator[str]:
        """Yield a sentence for each difference between the store and its log."""
        for check in self._checks():
            found = False
            try:
                async for problem in check:
                    found = True
                    yield problem
            except (LookupError, ValueError, TypeError, AttributeError, DomainError) as problem:
                yield f"the log can't be replayed: {describe(problem)}"
            if found:
                return  # nothing that is derived from a changed log can be right

    def _checks(self) -> Iterator[AsyncIterator[str]]:
        if self.module.sealed:
            yield broken_seals(self.store)
        for name, projection in self.projections.items():
            yield projection.differences(self._foreign.get(name, self.source).stored)
        yield differing_snapshots(self.module, self.store, self.source.stored)
        yield self._own_audit()

    async def _own_audit(self) -> AsyncIterator[str]:
        if self.module.verify is not None:
            dependencies = dependencies_of(self.module.verify, f"module {self.module.name}: verify")
            for problem in await self.module.verify(**self.provide(dependencies)):
                yield problem

    def provide(self, dependencies: Dependencies) -> dict[str, Any]:
        """The values for annotated parameters, by name. Raises `WiringError` for an annotation that has no provider."""
        return self._provisions.given(dependencies)

    def view(self, row: type[Any]) -> View[Any]:
        """The rows of one kind that the module keeps."""
        projection, definition = self.module.rows[row]
        cache = self._caches.get(projection.name)
        return View(ViewSource(definition, self.store, self.projections[projection.name].view.generation, cache))

    async def _recorded(self) -> AsyncIterator[Recorded[Event]]:
        async for event in self.source.stored():
            if event.type not in self.module.events.retired:
                yield self.module.events.recorded(event)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not self._resting:
            problem = None if task.cancelled() else task.exception()
            log.critical("a background task has died", module=self.module.name, task=task.get_name(), exc_info=problem)


def _shared(definition: ProjectionDefinition, host: Host, module: Module) -> SharedRows | None:
    """The rows of a projection in the cache that processes share. Secrets never get there."""
    kinds: list[Any] = [rows.row for rows in definition.rows.values()]
    if host.cache is None or any(map(holds_secrets, kinds)):
        return None
    shapes = fingerprint([rows.shape for rows in definition.rows.values()])
    made_by = f"{definition.version}.{shapes[:12]}"  # numbers of generations are used again after a restore
    return SharedRows(host.cache, f"craton:{host.wiring.app}:{module.name}:{made_by}")


def reader_name(part: str, source: str) -> str:
    """The name under which a policy's or waiting step's progress is stored; it has one for each log that it reads."""
    return f"{part}@{source}"
