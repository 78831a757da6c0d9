"""A circuit breaker for adapters: it stops asking a remote system that doesn't answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

from craton.application.errors import Unavailable

FAILURES: Final = 5
PAUSE_SECONDS: Final = 5


class Breaker:
    """After five failures in a row `name` isn't asked for five seconds; then one call finds out whether it is back.

    A failure is an `Unavailable`; every other exception counts as an answer.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._circuits = AsyncCircuitBreakerFactory(
            default_threshold=FAILURES, default_ttl=PAUSE_SECONDS, exclude=[(BaseException, _is_answer)]
        )

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Guard a call within the block. Raises `Unavailable` at once while the remote system isn't to be asked."""
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
