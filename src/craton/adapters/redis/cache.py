"""Keeps texts in Redis. If Redis is away, or slow, it isn't asked for a while."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from craton.application.errors import WiringError
from craton.domain import world

ANSWER_SECONDS: Final = 0.05
"""How long an answer is waited for: the store itself answers sooner than a slow cache."""
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 10.0
"""Redis isn't asked for so long after a failure; the pause doubles with each failure in a row."""
KEPT_SECONDS: Final = 600
CONNECTIONS: Final = 8

log = structlog.get_logger("craton.cache")


class RedisCache:
    """The cache at a `redis://`, `rediss://` or `unix://` URL. Raises `WiringError` for another one."""

    def __init__(self, url: str) -> None:
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                timeout=ANSWER_SECONDS,
                socket_connect_timeout=ANSWER_SECONDS,
                socket_timeout=ANSWER_SECONDS,
                decode_responses=True,
            )
        except ValueError:
            raise WiringError("the cache must be a redis://, rediss:// or unix:// URL") from None
        self._redis = Redis(connection_pool=pool)
        self._pause = 0.0
        self._closed_until = 0.0

    async def get(self, keys: Sequence[str]) -> Sequence[str | None]:
        nothing: list[str | None] = [None] * len(keys)
        if world.monotonic() < self._closed_until:
            return nothing
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                found: Any = await self._redis.mget(keys)
        except (RedisError, OSError, TimeoutError) as problem:
            self._failed(problem)
            return nothing
        self._pause = 0.0
        return list(found)

    async def put(self, entries: Mapping[str, str]) -> None:
        if world.monotonic() < self._closed_until:
            return
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._redis.pipeline(transaction=False) as pipeline:
                for key, text in entries.items():
                    pipeline.set(key, text, ex=KEPT_SECONDS)
                await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as problem:
            self._failed(problem)

    def _failed(self, problem: Exception) -> None:
        if self._pause == 0.0:
            log.warning("the cache doesn't answer; rows are read from the store", reason=type(problem).__name__)
        self._pause = min(max(FIRST_PAUSE_SECONDS, 2 * self._pause), LONGEST_PAUSE_SECONDS)
        self._closed_until = world.monotonic() + self._pause

    async def close(self) -> None:
        await self._redis.aclose()
