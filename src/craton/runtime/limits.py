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
from math import ceil
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
    """For a request that is refused: after how many seconds one is admitted; otherwise until the window ends."""


class _Counted(msgspec.Struct, frozen=True):
    """The requests that were admitted in a window, and in the one before."""

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

    def parts_until_one_fits(self, part: float, most: int) -> float:
        """How much of a window must go by until one request more is within a limit."""
        room = most - 1
        if self.count <= room:  # the window before still counts too much
            return max(0.0, 1.0 - part - (room - self.count) / self.before) if self.before else 0.0
        return 1.0 - part + 1.0 - room / self.count  # this window will be the one before


class Limits:
    """The counts of one module's routes. `commit` writes into the module's `store`."""

    def __init__(self, store: Store, commit: Commit, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._commit = commit
        self._clock = clock
        self._own: OrderedDict[str, tuple[_Counted, int]] = OrderedDict()
        """What is known here of each subject, and how much of it isn't in the store yet."""

    async def take(self, route: str, limit: Limit, subject: str) -> Taken:
        """Count a request, if it is admitted. A store that can't be written refuses nobody: what the route needs of it
        will."""
        now = self._clock().timestamp()
        window, passed = divmod(now, limit.seconds)
        part = passed / limit.seconds
        name = blake2b(f"{route} {limit.seconds} {subject}".encode(), digest_size=16).hexdigest()
        known, unwritten = self._own.get(name, (_Counted(name, int(window)), 0))
        if known.window != int(window):
            known, unwritten = known.at(int(window)), 0
        is_admitted = known.weighed(part) + 1 <= limit.count
        if is_admitted:
            known, unwritten = known.with_more(1), unwritten + 1
            if known.weighed(part) > limit.count / OWN_SHARE:
                known, unwritten, is_admitted = await self._count_together(limit, known, unwritten, part)
        self._remember(name, known, unwritten)
        if not is_admitted:
            wait = known.parts_until_one_fits(part, limit.count) * limit.seconds
            return Taken(is_admitted=False, remaining=0, seconds=max(1, ceil(wait)))
        remaining = max(0, int(limit.count - known.weighed(part)))
        return Taken(is_admitted=True, remaining=remaining, seconds=max(1, ceil(limit.seconds - passed)))

    async def _count_together(
        self, limit: Limit, known: _Counted, unwritten: int, part: float
    ) -> tuple[_Counted, int, bool]:
        """Add what was counted here to the store's count, without the last request if it goes beyond the limit."""
        found, is_admitted = known, True

        def fold(row: str | None) -> StoredRow:
            nonlocal found, is_admitted
            stored = _Counted(known.name, known.window) if row is None else decode(_Counted, row)
            if stored.window > known.window:  # a clock of another process goes before
                stored = _Counted(known.name, known.window, stored.count, stored.before)
            found = stored.at(known.window).with_more(unwritten)
            is_admitted = found.weighed(part) <= limit.count
            if not is_admitted:
                found = found.with_more(-1)
            ends = datetime.fromtimestamp((known.window + 2) * limit.seconds, self._clock().tzinfo)
            return StoredRow((known.name,), (ends,), encode_text(found))

        try:
            await self._commit(Changeset(rows=[RowFold(LIMITS, (known.name,), fold)]))
        except (StoreUnavailable, ChangesetRefused) as problem:
            log.warning("requests could not be counted", reason=str(problem))
            return known, unwritten, True
        return found, 0, is_admitted

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
