"""A module at run time: its store, its use cases, its subscriptions."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from inspect import iscoroutinefunction, isfunction
from typing import Any, get_args, get_origin

import structlog

from craton.application.api import Api
from craton.application.dependencies import Dependencies, dependencies_of
from craton.application.errors import WiringError
from craton.application.module import Module
from craton.application.policy import Policy
from craton.application.repository import Repository
from craton.application.rows import RowDefinition
from craton.application.sagas import Sagas
from craton.application.sagas.index import SagaIndex, SagaRow
from craton.application.sagas.process import SagaProcess
from craton.application.settings import Settings, read_settings
from craton.application.unit_of_work import Database
from craton.application.view import View, ViewSource
from craton.domain import DomainError, Event, Recorded
from craton.ports import Changeset, DocumentChanged, SerializationConflict, Statement, Store, StoredEvent
from craton.runtime.commands.aggregates import Aggregates
from craton.runtime.commands.execution import Resources
from craton.runtime.commands.use_cases import UseCases
from craton.runtime.committer import Commit, Committer, write_alone
from craton.runtime.process.attempt import cancelled
from craton.runtime.process.signal import Signal
from craton.runtime.projections.generations import LiveInline, retire
from craton.runtime.projections.handler import describe
from craton.runtime.projections.inline import InlineProjections
from craton.runtime.projections.row_cache import RowCache
from craton.runtime.projections.runner import ProjectionRunner
from craton.runtime.projections.verification import differing_snapshots
from craton.runtime.sagas.host import SagaHost
from craton.runtime.sagas.runner import SUBSCRIPTION
from craton.runtime.subscriptions.feed import Feed
from craton.runtime.subscriptions.policies import PolicyHandler, React, by_stream
from craton.runtime.subscriptions.seals import NAME as SEALING
from craton.runtime.subscriptions.seals import SEALS, SealHandler, broken_seals
from craton.runtime.subscriptions.subscription import Handler, Subscription
from craton.runtime.subscriptions.timers import TimerRunner

LOG_PAGE = 2_000
REST_SECONDS = 2.0
ADAPTER_SECONDS = 1.0

log = structlog.get_logger("craton.module")


class RunningModule:
    """One module with its store open. `find_api` gives it the other modules; `check_all` is for its aggregates."""

    def __init__(
        self,
        module: Module,
        store: Store,
        owner: str,
        clock: Callable[[], datetime],
        find_api: Callable[[type[Api]], Api],
        environment: Mapping[str, str],
        *,
        check_all: bool,
    ) -> None:
        self.module = module
        self.store = store
        self._find_api = find_api
        self._environment = environment
        self._provided: dict[Any, Any] = {}
        self._signal = Signal()
        self._tasks: list[asyncio.Task[None]] = []
        self._resting = False
        self._aggregates = Aggregates(store, module.events, check_all=check_all)
        self._committer = Committer(store, self._signal.fire)
        # Where one writer writes everything, pages share its commits; elsewhere they needn't wait for it.
        commit: Commit = self._committer.submit if store.writers == 1 else partial(write_alone, store)
        self._feed = Feed(store, module.events, self._signal)
        self._live_inline = LiveInline(store)
        self.projections = {
            name: ProjectionRunner(
                module.name,
                kind,
                module.events,
                store,
                self._committer,
                commit,
                self._feed,
                self._signal,
                owner,
                clock,
                self._live_inline,
            )
            for name, kind in module.projections.items()
        }
        inline = InlineProjections(self._live_inline, self.projections)

        resources = Resources(module.name, store, self._aggregates, self._committer, inline, clock)

        self._caches = {
            name: RowCache(module.name, kind, self._feed, self._signal, lambda: self._committer.newest, self._proven)
            for name, kind in module.projections.items()
            if kind.cached
        }
        self._readers: list[str] = []

        def subscription(
            name: str, handler: Handler, has_effects: Callable[[StoredEvent], bool] | None = None
        ) -> Subscription:
            self._readers.append(name)
            return Subscription(
                name, store, commit, self._feed, handler, self._signal, owner, clock, has_effects=has_effects
            )

        self.subscription = subscription
        """Makes a subscription to this module's feed."""
        self._use_cases_of = partial(UseCases, resources=resources)
        self._commit = commit
        self._owner = owner
        self._clock = clock

    # What runs the module's own code is made when it is wanted: to look at its data needs no settings and no adapters.

    @cached_property
    def _settings(self) -> Settings:
        return read_settings(self.module.settings, self.module.name, self._environment)

    @cached_property
    def use_cases(self) -> UseCases:
        return self._use_cases_of(self.module.service(**self.provide(self.module.service_dependencies)))

    @cached_property
    def sagas(self) -> SagaHost | None:
        if not self.module.sagas:
            return None
        processes = Repository(SagaProcess, self._aggregates)
        rows: View[SagaRow] = self._one("sagas", View[SagaRow])
        return SagaHost(self.module.sagas, processes, rows, self._use_cases_of, self.provide, self._clock)

    @cached_property
    def timers(self) -> TimerRunner:
        use_cases, commit = self.use_cases, self._commit
        return TimerRunner(self.module.api, use_cases, self.store, commit, self._signal, self._owner, self._clock)

    def make(self) -> None:
        """Make all that runs the module's own code. Raises `WiringError`."""
        _ = self._settings, self.timers, self.sagas

    async def prepare(self) -> None:
        """Make what is missing in the store, which is open, and prepare the projections."""
        for sql in self.module.tables:
            (outcome,) = await self.store.write([Changeset(statements=[Statement(sql, {})])])
            if isinstance(outcome, Exception):
                raise WiringError(f"module {self.module.name}: its tables can't be made: {outcome}")
        if self.module.sealed:
            await self.store.create_table(SEALS)
        if not self.module.sagas and await self.store.document(f"projection/{SagaIndex.name}") is not None:
            log.error("the module has no sagas any more; those that have not ended wait", module=self.module.name)
        await self._retire_inline()
        for projection in self.projections.values():
            await projection.prepare()
        self.store.watch(self._signal.fire)

    async def _retire_inline(self) -> None:
        """Take inline projections out of those that are live which the module says it has given up."""
        await self._live_inline.refresh()
        for name in self._live_inline.generations.keys() - self.projections.keys():
            while name in self.module.retired and name in self._live_inline.generations:
                with contextlib.suppress(DocumentChanged, SerializationConflict):  # another process was faster
                    await retire(name, self.store, self._live_inline)
                await self._live_inline.refresh()

    async def run_start_hook(self) -> Sequence[str]:
        """Do what the module wants done before it serves; return what is to be said to whoever has started it."""
        start = self.module.start
        return (
            () if start is None else await start(**self.provide(dependencies_of(start, f"module {self.module.name}")))
        )

    def start_background(self, recording: Callable[[type[Event]], "RunningModule"]) -> None:
        """Begin to read the feed, run timers and sagas, and react to what the modules that are `recording` record."""
        reactions = list(self._reactions(recording))  # first: what they ask for may be refused
        runs = [
            self.timers.run(),
            *(projection.run() for projection in self.projections.values()),
            *(cache.run() for cache in self._caches.values()),
        ]
        if self.module.sealed:
            runs.append(self.subscription(SEALING, SealHandler(self.store)).run())
        runs += [subscription.run() for subscription in reactions]
        if self.sagas is not None:
            told = self.subscription(SUBSCRIPTION, self.sagas.runner)
            runs += [told.run(), self.sagas.runner.run(told)]
        self._tasks = [asyncio.create_task(run) for run in runs]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def _reactions(self, recording: Callable[[type[Event]], "RunningModule"]) -> Iterator[Subscription]:
        """A subscription for each policy, and each step that waits, to each module that records what it is about."""
        for name, reaction in self.module.policies.items():
            policy = reaction.kind()
            react = partial(policy.react, **self.provide(reaction.dependencies))
            yield from self._react(name, reaction.events, react, reaction.kind, recording, policy.key)
        if self.sagas is not None:
            for definition, step in self.sagas.waiting:
                name = f"{self.module.name}.{definition.name}.{step.name}"
                events = definition.awaits[step.name]
                deliver = self.sagas.deliver(definition, step)
                yield from self._react(name, events, deliver, Policy, recording, by_stream)

    def _react(
        self,
        name: str,
        events: Sequence[type[Event]],
        react: React,
        kind: type[Policy],
        recording: Callable[[type[Event]], "RunningModule"],
        key: Callable[[Recorded[Any]], str],
    ) -> Iterator[Subscription]:
        for source in dict.fromkeys(recording(event) for event in events):
            wanted = [event for event in events if recording(event) is source]
            reactor = PolicyHandler(name, wanted, react, kind, source.module.events, key)
            subscription = source.subscription(name, reactor, reactor.concerns)
            reactor.is_owned = subscription.is_owned
            yield subscription

    async def _proven(self) -> int:
        """A position that some reader of the feed has got to, so that nothing is missing before it."""
        return max([await self.store.checkpoint(name) for name in self._readers], default=0)

    async def rest(self) -> None:
        """End what goes on in the background."""
        self._resting = True
        left = await cancelled(self._tasks, REST_SECONDS)
        if left:
            log.error("background tasks don't end", module=self.module.name, tasks=[task.get_name() for task in left])

    async def close(self) -> None:
        """Finish what was handed in, and close the adapters that can be, and the store; all of it soon."""
        adapters = [one for one in self._provided.values() if iscoroutinefunction(getattr(one, "close", None))]
        await asyncio.gather(self._committer.drain(), *map(self._close_adapter, adapters))
        await self.store.close()

    async def _close_adapter(self, adapter: Any) -> None:
        try:
            async with asyncio.timeout(ADAPTER_SECONDS):
                await adapter.close()
        except Exception as problem:
            name = type(adapter).__name__
            log.error("an adapter can't be closed", module=self.module.name, adapter=name, reason=describe(problem))

    async def events(self, after: int = 0) -> AsyncIterator[StoredEvent]:
        """All events in order, as stored."""
        while True:
            page = await self.store.read_feed(after, LOG_PAGE)
            if page.position == after:
                return
            for event in page.events:
                yield event
            after = page.position

    async def verify(self) -> AsyncIterator[str]:
        """Yield a sentence for each thing that isn't as the log says."""
        for check in self._checks():
            found = False
            try:
                async for problem in check:
                    found = True
                    yield problem
            except (LookupError, ValueError, TypeError, AttributeError, DomainError) as problem:
                yield f"the log can't be replayed: {describe(problem)}"
            if found:
                return  # what stands on a changed log can't be right either

    def _checks(self) -> Iterator[AsyncIterator[str]]:
        if self.module.sealed:
            yield broken_seals(self.store)
        for projection in self.projections.values():
            yield projection.differences(self.events)
        yield differing_snapshots(self.module, self.store, self.events)
        yield self._own_audit()

    async def _own_audit(self) -> AsyncIterator[str]:
        if self.module.verify is not None:
            dependencies = dependencies_of(self.module.verify, f"module {self.module.name}: verify")
            for problem in await self.module.verify(**self.provide(dependencies)):
                yield problem

    def provide(self, dependencies: Dependencies) -> dict[str, Any]:
        """What annotations ask for, by parameter. Raises `WiringError` for what nothing provides."""
        return {name: self._one(name, hint) for name, hint in dependencies.items()}

    def _one(self, name: str, hint: Any) -> Any:
        origin = get_origin(hint)
        if origin is Repository:
            return Repository(get_args(hint)[0], self._aggregates)
        if origin is View:
            row_type: RowDefinition[Any]
            projection, row_type = self.module.rows[get_args(hint)[0]]
            cache = self._caches.get(projection.name)
            return View(ViewSource(row_type, self.store, self.projections[projection.name].live, cache))
        if origin is not None and issubclass(origin, AsyncIterator):
            return self._recorded()
        if origin is Sagas:
            definition = self.module.sagas[get_args(hint)[0].__name__]
            return Sagas(definition, Repository(SagaProcess, self._aggregates))
        if hint is Database:
            return Database(self.store)
        if isinstance(hint, type) and issubclass(hint, Api):
            return self._find_api(hint)
        if hint is self.module.settings:
            return self._settings
        if hint in self.module.provides:
            if hint not in self._provided:
                found = self.module.provides[hint]
                chosen = found(**self.provide(dependencies_of(found, name))) if isfunction(found) else found
                self._provided[hint] = chosen
            return self._provided[hint]
        raise WiringError(
            f"module {self.module.name}: nothing provides {name}: {hint}. Give it to the module as provides={{…}}"
        )

    async def _recorded(self) -> AsyncIterator[Recorded[Event]]:
        async for event in self.events():
            if event.type not in self.module.events.retired:
                yield self.module.events.recorded(event)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not self._resting:
            problem = None if task.cancelled() else task.exception()
            log.critical("a background task has died", module=self.module.name, task=task.get_name(), exc_info=problem)
