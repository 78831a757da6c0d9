"""An application that is told to stop ends soon, whatever its own code, an adapter or the database do."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from craton.application import Api, Context, DeadlineExceeded, Module, Policy, command
from craton.application.api import operation_of
from craton.application.context import entered
from craton.domain import Recorded
from craton.ports import Changeset, StoreUnavailable, WriteOutcome
from craton.runtime import App
from craton.runtime.committer import Committer
from craton.runtime.process.attempt import heed_cancellation
from craton.testing.conformance.making import appending
from craton.testing.faults import Line
from tests.conftest import Place, PostgresPlace
from tests.kernel.bank import AccountId, Bank, bank
from tests.kernel.club import Club, ClubService
from tests.kernel.travel import Booked, Desk, TripId, Weather, desk


class TestBackground:
    @pytest.mark.parametrize("problem", [OSError("closed"), None], ids=["another error", "none at all"])
    async def test_a_reaction_that_makes_something_else_of_its_cancellation_ends_all_the_same(
        self, place: Place, weather: Weather, problem: Exception | None
    ) -> None:
        reacting, tries = asyncio.Event(), 0

        class Stubborn(Policy):
            async def react(self, event: Recorded[Booked]) -> None:
                nonlocal tries
                tries += 1
                reacting.set()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    if problem is not None:
                        raise problem  # noqa: B904

        club = Module("club", api=Club, service=ClubService, policies=[Stubborn], provides={Weather: weather})
        app = App("travel", modules=[desk(weather), club])
        async with app.run(place):
            await app.api(Desk).book(TripId.new(), "flight")
            await reacting.wait()

        assert tries == 1

    async def test_what_was_cancelled_heeds_it_though_it_was_told_otherwise(self) -> None:
        async def swallow() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                """Swallowed."""
            heed_cancellation()

        task = asyncio.create_task(swallow())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled()


class TestAdapters:
    async def test_one_that_does_not_close_holds_up_nobody(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("craton.runtime.module.ADAPTER_SECONDS", 0.05)

        class Stuck:
            async def close(self) -> None:
                await asyncio.Event().wait()

        class Quiet(Api):
            @command
            async def be(self) -> None: ...

        class QuietService(Quiet):
            def __init__(self, stuck: Stuck) -> None:
                """Has one."""

            async def be(self) -> None: ...

        app = App("test", modules=[Module("quiet", api=Quiet, service=QuietService, provides={Stuck: Stuck()})])
        async with app.run(place):
            await app.api(Quiet).be()


class SilentStore:
    """Where nothing that is written is ever answered."""

    writers = 1

    async def write(self, units: Sequence[Changeset]) -> Sequence[WriteOutcome]:
        await asyncio.Event().wait()
        return []

    def transaction(self, isolation: Any) -> Any:
        raise NotImplementedError


class TestCommits:
    async def test_that_are_not_answered_are_given_up_and_the_difference_is_told(self) -> None:
        committer = Committer(SilentStore(), lambda: None)
        written = committer.submit(appending("a"))
        await asyncio.sleep(0)
        waiting = committer.submit(appending("a", 1))

        await committer.drain(0.05)

        for commit, maybe_executed in ((written, True), (waiting, False)):
            with pytest.raises(StoreUnavailable) as problem:
                await commit
            assert problem.value.maybe_executed is maybe_executed

    async def test_are_waited_for_until_the_last_deadline_of_their_callers(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("craton.runtime.committer.MIN_COMMIT_SECONDS", 0.01)
        committer = Committer(SilentStore(), lambda: None)
        now = time.monotonic()
        commits = []
        for seconds in (0.01, 0.2):
            with entered(Context(deadline=now + seconds)):
                commits.append(committer.submit(appending(f"a{seconds}")))

        outcomes = await asyncio.gather(*commits, return_exceptions=True)

        assert time.monotonic() - now >= 0.2
        assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)


class TestDeadlines:
    async def test_are_kept_while_the_database_is_silent(self, postgres_place: PostgresPlace) -> None:
        with Line(postgres_place.url) as line:
            distant = PostgresPlace(line.url)
            distant.prefix = postgres_place.prefix
            app = App("test", modules=[bank()])
            async with app.run(distant, subscriptions=False):
                account = await app.api(Bank).open("Ann", "ann@example.org")
                line.black_hole()

                calls: list[tuple[Any, dict[str, Any]]] = [
                    (Bank.deposit, {"account": account, "amount": 1}),
                    (Bank.balance, {"account": account}),
                    (Bank.state, {"account": account}),
                    (Bank.note, {"id": "n", "account": account}),
                    (Bank.note_twice, {"id": "m"}),
                    (Bank.notes, {}),
                    (Bank.state, {"account": AccountId.new()}),
                ]
                for method, arguments in calls:
                    with pytest.raises(DeadlineExceeded):
                        await app.call(operation_of(method), arguments, Context(deadline=time.monotonic() + 0.3))
