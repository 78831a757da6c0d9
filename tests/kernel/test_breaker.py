"""Who has failed several times in a row isn't asked for a while."""

import pytest

from craton.adapters import breaker as adapter
from craton.adapters.breaker import FAILURES, Breaker
from craton.application import Unavailable
from craton.domain import Conflict


class Friend:
    """Somebody who may be away."""

    def __init__(self) -> None:
        self.breaker = Breaker("The friend")
        self.asked = 0

    async def ask(self, answer: Exception | None = None) -> None:
        async with self.breaker.asking():
            self.asked += 1
            if answer is not None:
                raise answer

    async def fail(self, times: int) -> None:
        for _ in range(times):
            with pytest.raises(Unavailable):
                await self.ask(Unavailable("away", maybe_executed=True))


async def test_after_some_failures_in_a_row_the_remote_system_is_not_asked() -> None:
    friend = Friend()
    await friend.fail(FAILURES)

    with pytest.raises(Unavailable, match="The friend has failed several times") as refused:
        await friend.ask()

    assert friend.asked == FAILURES
    assert not refused.value.maybe_executed


async def test_an_answer_between_failures_counts_from_the_beginning() -> None:
    friend = Friend()
    await friend.fail(FAILURES - 1)
    await friend.ask()
    await friend.fail(FAILURES - 1)

    await friend.ask()

    assert friend.asked == 2 * FAILURES


async def test_a_refusal_is_an_answer() -> None:
    friend = Friend()
    for _ in range(3 * FAILURES):
        with pytest.raises(Conflict):
            await friend.ask(Conflict())

    assert friend.asked == 3 * FAILURES


async def test_after_the_pause_one_request_finds_out_whether_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "PAUSE_SECONDS", 0.05)
    friend = Friend()
    await friend.fail(FAILURES)

    while True:
        try:
            await friend.ask()
            break
        except Unavailable:
            continue

    await friend.ask()
    assert friend.asked == FAILURES + 2
