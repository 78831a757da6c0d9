"""The readers of the logs, with their progress and their parked events."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from craton.application.page import Page, Paging
from craton.ports import HeldLease, OperatorRequest, ParkedEvent, StoreUnavailable
from craton.runtime.compatibility.readers import Reader
from craton.runtime.module import RunningModule
from craton.runtime.operations.api import ParkedEntry, ReaderState
from craton.runtime.operations.refusals import NotHandled, ParkedNotFound
from craton.runtime.projections.projection import ProjectionProgress
from craton.runtime.sagas.runner import SUBSCRIPTION
from craton.runtime.subscriptions.seals import NAME as SEALS
from craton.runtime.subscriptions.source import Source

LOOK_SECONDS = 1.5
MAX_REQUESTS = 1_000
"""How many events one request can name; the next request names the rest."""

Modules = Mapping[str, RunningModule]


async def reader_states(modules: Modules, readers: Sequence[Reader]) -> list[ReaderState]:
    """All readers of logs, module by module."""
    heads = await heads_of(modules)
    found: list[ReaderState] = []
    for name, running in modules.items():
        leases = {lease.name: lease for lease in await running.store.leases()}
        parked = [entry.subscription for entry in await running.store.parked()]
        for projection in running.projections.values():
            found.append(_of_projection(await projection.progress(), leases))
        own = [
            ("policy" if reader.name in running.module.policies else "saga step", reader.full_name, reader.source)
            for reader in readers
            if reader.home == name
        ]
        own += [("sagas", SUBSCRIPTION, name)] if running.module.sagas else []
        own += [("seals", SEALS, name)] if running.module.sealed else []
        for kind, full_name, source in own:
            position = await running.store.checkpoint(full_name)
            found.append(
                ReaderState(
                    module=name,
                    name=full_name,
                    kind=kind,
                    source=source,
                    position=position,
                    head=heads[source],
                    lag=_lag(heads[source], position),
                    parked=parked.count(full_name),
                    owner=_owner(leases, full_name),
                )
            )
    return found


async def heads_of(modules: Modules) -> dict[str, int | None]:
    """The ends of the logs of the modules, and of those that they read; None for one that can't be reached soon."""

    async def look(source: Source) -> int | None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return await source.feed.head()
        except (StoreUnavailable, TimeoutError):
            return None

    sources = {name: source for running in modules.values() for name, source in running.sources.items()}
    return dict(zip(sources, await asyncio.gather(*map(look, sources.values())), strict=True))


def _lag(head: int | None, position: int) -> int | None:
    return None if head is None else max(0, head - position)


def _of_projection(progress: ProjectionProgress, leases: Mapping[str, HeldLease]) -> ReaderState:
    name = f"{progress.projection}@{progress.live}"
    return ReaderState(
        module=progress.module,
        name=name,
        kind="projection",
        source=progress.source,
        position=progress.position,
        head=progress.head,
        lag=progress.lag,
        parked=progress.parked + progress.parked_building,
        owner=_owner(leases, name),
    )


def _owner(leases: Mapping[str, HeldLease], name: str) -> str | None:
    lease = leases.get(name)
    return lease.owner if lease is not None and lease.held else None


async def parked_page(modules: Modules, reader: str | None, key: str | None, paging: Paging) -> Page[ParkedEntry]:
    """A page of the parked events of some modules, those parked longest first."""
    entries = [
        (name, entry)
        for name, running in modules.items()
        for entry in await running.store.parked(reader)
        if key in (None, entry.key)
    ]
    entries.sort(key=lambda found: (found[1].since, found[0], found[1].subscription, found[1].position))
    shown = entries[paging.offset : paging.offset + paging.page_size]
    return Page.of([_parked_entry(name, entry) for name, entry in shown], len(entries), paging)


def _parked_entry(module: str, entry: ParkedEvent) -> ParkedEntry:
    return ParkedEntry(
        module=module,
        reader=entry.subscription,
        position=entry.position,
        key=entry.key,
        error=entry.error,
        attempts=entry.attempts,
        since=entry.since,
        request=entry.operator_request,
    )


async def parked_that_match(
    running: RunningModule, readers: Sequence[Reader], reader: str | None, key: str | None, position: int | None
) -> Sequence[ParkedEvent]:
    """The parked events that match. Raises `ParkedNotFound`, or `NotHandled` if no process handles them."""
    known = {SUBSCRIPTION, SEALS, *(found.full_name for found in readers)}
    matching = [
        entry
        for entry in await running.store.parked(reader)
        if key in (None, entry.key) and position in (None, entry.position)
    ]
    if not matching:
        raise ParkedNotFound()
    for name in dict.fromkeys(entry.subscription for entry in matching):
        projection = running.projections.get(name.rpartition("@")[0])
        if projection is None and name not in known:
            raise NotHandled(reader=name, projection="")
        if projection is not None and not await projection.handles(name):
            raise NotHandled(reader=name, projection=projection.definition.name)
    return matching


def retries(entries: Sequence[ParkedEvent]) -> Iterator[OperatorRequest]:
    """One request for each key: a retry begins with the first event of the key and goes on to the last."""
    keys: dict[tuple[str, str], OperatorRequest] = {}
    for entry in entries:
        keys.setdefault((entry.subscription, entry.key), OperatorRequest(entry.subscription, entry.position, "retry"))
    yield from keys.values()


def drops(entries: Sequence[ParkedEvent]) -> Iterator[OperatorRequest]:
    """One request for each event."""
    for entry in entries:
        yield OperatorRequest(entry.subscription, entry.position, "drop")
