"""Keeps texts in Redis. If Redis is away, or slow, it isn't asked for a while."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from redis.asyncio import BlockingConnectionPool, Redis

from craton.application.errors import WiringError
from craton.domain import world

ANSWER_SECONDS: Final = 0.05
"""How long an answer is waited for: the store itself answers sooner than a slow cache."""
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 10.0
"""Redis isn't asked for so long after a failure. The pause doubles if the first call after it fails again."""
KEPT_SECONDS: Final = 600
CONNECTIONS: Final = 8
SCHEMES: Final = ("redis", "rediss", "unix")

log = structlog.get_logger("craton.cache")


class RedisCache:
    """The cache at a `redis://`, `rediss://` or `unix://` URL. Raises `WiringError` for another one."""

    def __init__(self, url: str) -> None:
        try:
            if urlsplit(url).scheme not in SCHEMES or urlsplit(url).query:
                raise ValueError("another scheme, or options")
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                timeout=ANSWER_SECONDS,
                socket_connect_timeout=ANSWER_SECONDS,
                socket_timeout=ANSWER_SECONDS,
            )
            pool.make_connection()  # type: ignore[no-untyped-call]  # finds what is wrong with the URL
        except Exception:
            raise WiringError("the cache must be a redis://, rediss:// or unix:// URL without options") from None
        self._redis = Redis.from_pool(pool)  # which is closed with it
        self._asking = asyncio.Semaphore(CONNECTIONS)
        self._pause = 0.0
        self._closed_at = self._closed_until = 0.0

    async def get(self, keys: Sequence[str]) -> Sequence[str | None]:
        found: list[str | None] = [None] * len(keys)
        if self._is_open():
            async with self._guarded():
                texts: Any = await self._redis.mget(keys)
                found = [None if text is None else text.decode() for text in texts]
        return found

    async def put(self, entries: Mapping[str, str]) -> None:
        if self._is_open():
            async with self._guarded(), self._redis.pipeline(transaction=False) as pipeline:
                for key, text in entries.items():
                    pipeline.set(key, text, ex=KEPT_SECONDS)
                await pipeline.execute()

    def _is_open(self) -> bool:
        """Whether Redis may be asked now. Those that would have to wait for a connection aren't better off with it."""
        return world.monotonic() >= self._closed_until and not self._asking.locked()

    @asynccontextmanager
    async def _guarded(self) -> AsyncIterator[None]:
        """Whatever goes wrong in the block is noted, and goes no further."""
        began = world.monotonic()
        try:
            async with self._asking, asyncio.timeout(ANSWER_SECONDS):
                yield
        except UnicodeDecodeError:
            return  # a text of somebody else's; Redis is well
        except Exception as problem:
            if began >= self._closed_at:  # else it began before the failure that has closed it already
                self._close(problem)
        else:
            self._pause = 0.0

    def _close(self, problem: Exception) -> None:
        if self._pause == 0.0:
            log.warning("the cache doesn't answer; rows are read from the store", reason=type(problem).__name__)
        self._pause = min(max(FIRST_PAUSE_SECONDS, 2 * self._pause), LONGEST_PAUSE_SECONDS)
        self._closed_at = world.monotonic()
        self._closed_until = self._closed_at + self._pause

    async def close(self) -> None:
        await self._redis.aclose()
