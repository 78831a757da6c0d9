"""A circuit breaker for adapters whose other side may be away: it isn't asked in vain again and again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

from craton.application.errors import Unavailable

FAILURES: Final = 5
PAUSE_SECONDS: Final = 5


class Breaker:
    """After five failures in a row `name` isn't asked for five seconds; then it is tried whether it is back.

    A failure is an `Unavailable`; whatever else is raised is an answer.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._circuits = AsyncCircuitBreakerFactory(
            default_threshold=FAILURES, default_ttl=PAUSE_SECONDS, exclude=[(BaseException, _is_answer)]
        )

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Ask within the block. Raises `Unavailable` at once while nobody is to ask."""
        try:
            async with await self._circuits.get_breaker(self._name):
                yield
        except OpenedState:
            raise Unavailable(
                f"{self._name} has failed several times and isn't asked for some seconds.",
                maybe_executed=False,
                retry_after=PAUSE_SECONDS,
            ) from None


def _is_answer(problem: BaseException) -> bool:
    return not isinstance(problem, Unavailable)
