"""Forgets what is only of use for a time: answers under keys, counts of requests, and rows of sagas that have ended.

One process of each module does it, by a lease, a little at a time, so that nobody waits for it. The log is never
forgotten: a saga's events stay, and so does what can be asked of it by its id.
"""

import asyncio
from datetime import timedelta
from typing import Final

import msgspec
import structlog

from craton.application.command_keys import OWN_KEY
from craton.application.page import MAX_PAGE_SIZE, Paging, within
from craton.application.sagas.index import SagaIndex, SagaRow
from craton.application.view import View
from craton.ports import Changeset, Fence, FenceLost, RowDelete
from craton.runtime.background import Background, keep_running
from craton.runtime.limits import Limits
from craton.runtime.projections.projection import RunningProjection
from craton.runtime.subscriptions.lease import LEASE_SECONDS, Lease

LEASE: Final = "retention"
CHUNK: Final = 1_000
PAUSE_SECONDS: Final = 0.5
"""Between two chunks."""
PASS_SECONDS: Final = 3_600.0
"""Between the end of one pass and the beginning of the next."""

log = structlog.get_logger("craton.retention")


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long things are kept that are only of use for a time."""

    results: timedelta = timedelta(days=30)
    """Answers under keys of clients. A command that is repeated later than that runs again."""
    ended_sagas: timedelta = timedelta(days=90)
    """Ended sagas in lists; each is found by its id as long as its events are."""


class Forgetting:
    """The retention of one module. `limits` are the counts of its requests, `sagas` the list of its sagas, if any."""

    def __init__(
        self,
        background: Background,
        retention: Retention,
        limits: Limits | None,
        sagas: RunningProjection | None,
        rows: View[SagaRow] | None,
    ) -> None:
        self._background = background
        self._retention = retention
        self._limits = limits
        self._sagas = sagas
        self._rows = rows
        self._lease = Lease(background.store, LEASE, background.owner)

    async def run(self) -> None:
        """Make a pass now and then, until cancelled."""
        try:
            await keep_running("retention", self._pass_and_wait)
        finally:
            await self._lease.release()

    async def _pass_and_wait(self) -> None:
        if await self._lease.hold() is None:
            await asyncio.sleep(LEASE_SECONDS)
            return
        if self._limits is not None:
            await self._limits.forget()
        await self.forget_results()
        await self.forget_sagas()
        await asyncio.sleep(PASS_SECONDS)

    async def forget_results(self) -> None:
        """Look at all answers, and forget those that are too old.

        What the commands of policies and sagas have done is never forgotten: a parked event or a stranded saga may be
        tried again after any time.
        """
        before = self._background.clock() - self._retention.results
        after: tuple[str, str] | None = ("", "")
        while after is not None:
            after = await self._background.store.forget_results(before, after, CHUNK, OWN_KEY)
            if after is not None:
                await asyncio.sleep(PAUSE_SECONDS)

    async def forget_sagas(self) -> None:
        """Take sagas that have ended too long ago out of the list."""
        if self._sagas is None or self._rows is None:
            return
        (definition,) = self._sagas.definition.rows.values()
        before = self._background.clock() - self._retention.ended_sagas
        while True:
            number, generation = await self._lease.hold(), await self._sagas.view.generation()
            old = await self._rows.page(ended_at=within(None, before), open=0, paging=Paging(1, MAX_PAGE_SIZE))
            if number is None or not old.items:
                return
            table = definition.table(generation)
            deleted = [RowDelete(table, (row.saga,)) for row in old.items]
            try:
                await self._background.commit(Changeset(rows=deleted, fence=Fence(LEASE, number)))
            except FenceLost:
                return
            log.info("sagas that ended long ago are not listed any more", sagas=len(deleted), list=SagaIndex.name)
            await asyncio.sleep(PAUSE_SECONDS)
