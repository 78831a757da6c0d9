"""Waiting until a running app has nothing left to do."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from craton.application.page import Paging, within
from craton.application.sagas.index import SagaRow
from craton.runtime.app import App
from craton.runtime.module import RunningModule
from craton.testing.until import WAIT_SECONDS, until


async def settled(app: App, seconds: float = WAIT_SECONDS) -> None:
    """Wait until an app has nothing left to do: no reader is behind, no timer is due and no saga could go on.

    What waits for a later time, for an event that hasn't happened or for an operator isn't under way. An app that runs
    without subscriptions does nothing in the background, so it settles only when there is nothing to do.

    Raises `TimeoutError` with what is still under way.
    """
    for running in app.running.values():
        running.background.signal.fire()  # the clock may have been turned
    left: list[str] = []

    async def nothing_left() -> bool:
        left[:] = await _unsettled(app)
        return not left

    try:
        await until(nothing_left, seconds)
    except TimeoutError as problem:
        if not left:
            raise
        raise TimeoutError(f"not settled within {seconds:g} seconds: {'; '.join(left)}") from problem


async def next_due(app: App, end: datetime) -> datetime | None:
    """The first time after now and before `end` at which a timer or a saga of an app is due."""
    found: list[datetime] = []
    for running in app.running.values():
        now = running.background.clock()
        timer = await running.store.next_timer()
        found += [timer] if timer is not None and now < timer < end else []
        if running.sagas is not None and _just_after(now) < end:
            due = within(_just_after(now), end)
            sagas = await running.view(SagaRow).page(open=1, due_at=due, order="due_at", paging=Paging(1, 1))
            found += [saga.due_at for saga in sagas.items if saga.due_at is not None]
    return min(found, default=None)


async def _unsettled(app: App) -> list[str]:
    """What the app has still to do, a phrase for each thing; empty when it is settled."""
    before = {name: await running.store.head() for name, running in app.running.items()}
    found = [phrase async for phrase in _under_way(app)]
    after = {name: await running.store.head() for name, running in app.running.items()}
    return found or [f"{name} is recording events" for name in before if before[name] != after[name]]


async def _under_way(app: App) -> AsyncIterator[str]:
    for reader in await app.operations.readers():
        if reader.lag:
            yield f"{reader.name} of {reader.module} is {reader.lag} positions behind"
        parked = await app.running[reader.module].store.parked(reader.name) if reader.parked else []
        if any(entry.operator_request for entry in parked):
            yield f"{reader.name} of {reader.module} has not done yet what an operator asked for"
    for name, running in app.running.items():
        for progress in [await projection.progress() for projection in running.projections.values()]:
            if progress.building and not progress.parked_building:
                yield f"{progress.projection} of {name} is being built"
        due = await running.store.next_timer()
        if due is not None and due <= running.background.clock():
            yield f"a timer of {name} is due"
        async for phrase in _sagas(name, running):
            yield phrase


async def _sagas(name: str, running: RunningModule) -> AsyncIterator[str]:
    if running.sagas is None:
        return
    if running.sagas.runner.is_acting:
        yield f"a saga of {name} is being driven"
    rows = running.view(SagaRow)
    due = await rows.page(open=1, due_at=within(None, _just_after(running.background.clock())))
    for row in due.items:
        yield f"the saga {row.saga} of {name} is due"


def _just_after(time: datetime) -> datetime:
    """The end of a range that includes a time."""
    return time + timedelta(microseconds=1)
