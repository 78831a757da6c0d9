"""Counts requests for the limits of routes, over all processes that share a store.

A window slides: the requests of the window before count by the part of it that is not yet over, as if they had been
spread over it evenly ("How we built rate limiting capable of scaling to millions of domains", Cloudflare 2017). So no
caller gets twice the limit around the change of two windows.

A process counts by itself until a caller has come to a quarter of a limit, and from then on in the store, beginning
with what it has counted: nearly all callers never cost a commit, and what several processes admit is at most a quarter
each above the limit.
"""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b
from typing import Final

import msgspec
import structlog

from craton.application.codec import decode, encode_text
from craton.application.limits import Limit
from craton.ports import (
    Changeset,
    ChangesetRefused,
    Query,
    Range,
    RowDelete,
    RowFold,
    Store,
    StoredRow,
    StoreUnavailable,
    Table,
    TableColumn,
)
from craton.runtime.committer import Commit

LIMITS: Final = Table("request_limits", (TableColumn("name", "text"),), (TableColumn("ends", "time", indexed=True),))
MAX_REMEMBERED: Final = 20_000
OWN_SHARE: Final = 4
"""A process counts by itself up to this part of a limit."""
FORGOTTEN_TOGETHER: Final = 1_000

log = structlog.get_logger("craton.limits")


class Taken(msgspec.Struct, frozen=True):
    """What a limit says of a request."""

    is_admitted: bool
    remaining: int
    """How many requests are still admitted now."""
    seconds: int
    """After how many seconds the window ends; after that more are admitted."""


class _Counted(msgspec.Struct, frozen=True):
    """The requests of a window, and of the one before."""

    name: str
    window: int
    count: int = 0
    before: int = 0

    def at(self, window: int) -> "_Counted":
        """The same in a later window."""
        if window == self.window:
            return self
        return _Counted(self.name, window, 0, self.count if window == self.window + 1 else 0)

    def with_more(self, count: int) -> "_Counted":
        return _Counted(self.name, self.window, self.count + count, self.before)

    def weighed(self, part: float) -> float:
        """The number of requests, when this part of the window is over."""
        return self.count + self.before * (1.0 - part)


class Limits:
    """The counts of one module's routes. `commit` writes into the module's `store`."""

    def __init__(self, store: Store, commit: Commit, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._commit = commit
        self._clock = clock
        self._own: OrderedDict[str, tuple[_Counted, int]] = OrderedDict()
        """What was counted here: all, and how much of it isn't in the store yet."""

    async def take(self, route: str, limit: Limit, subject: str) -> Taken:
        """Count a request. A store that can't be written refuses nobody: what the route needs of it will."""
        now = self._clock().timestamp()
        window, passed = divmod(now, limit.seconds)
        name = blake2b(f"{route} {limit.seconds} {subject}".encode(), digest_size=16).hexdigest()
        counted, unwritten = self._own.get(name, (_Counted(name, int(window)), 0))
        counted = counted.at(int(window)).with_more(1)
        unwritten = (unwritten if counted.count > 1 else 0) + 1
        part = passed / limit.seconds
        if counted.weighed(part) > limit.count / OWN_SHARE:
            counted, unwritten = await self._count_together(name, limit, counted, unwritten)
        self._remember(name, counted, unwritten)
        weighed = counted.weighed(part)
        return Taken(
            is_admitted=weighed <= limit.count,
            remaining=max(0, int(limit.count - weighed)),
            seconds=max(1, int(limit.seconds - passed) + 1),
        )

    async def _count_together(self, name: str, limit: Limit, counted: _Counted, unwritten: int) -> tuple[_Counted, int]:
        found = counted

        def fold(row: str | None) -> StoredRow:
            nonlocal found
            stored = _Counted(name, counted.window) if row is None else decode(_Counted, row)
            if stored.window > counted.window:  # a clock of another process goes before
                stored = _Counted(name, counted.window, stored.count, stored.before)
            found = stored.at(counted.window).with_more(unwritten)
            ends = datetime.fromtimestamp((counted.window + 2) * limit.seconds, self._clock().tzinfo)
            return StoredRow((name,), (ends,), encode_text(found))

        try:
            await self._commit(Changeset(rows=[RowFold(LIMITS, (name,), fold)]))
        except (StoreUnavailable, ChangesetRefused) as problem:
            log.warning("requests could not be counted", reason=str(problem))
            return counted, unwritten
        return found, 0

    def _remember(self, name: str, counted: _Counted, unwritten: int) -> None:
        self._own[name] = counted, unwritten
        self._own.move_to_end(name)
        if len(self._own) > MAX_REMEMBERED:
            self._own.popitem(last=False)

    async def forget(self) -> None:
        """Remove the counts of windows that are over."""
        before = Range(None, self._clock())
        while True:
            rows, total = await self._store.find_rows(LIMITS, Query(where={"ends": before}, limit=FORGOTTEN_TOGETHER))
            if not total:
                return
            await self._commit(Changeset(rows=[RowDelete(LIMITS, (decode(_Counted, row).name,)) for row in rows]))
