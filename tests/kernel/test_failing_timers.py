"""Timers whose command fails, is refused, never ends or is gone: none stops another, and none is tried for ever."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from craton.application.errors import Unavailable
from craton.application.retry import minutes, seconds
from craton.ports import Changeset, StoreUnavailable, Timer
from craton.runtime import App
from craton.runtime.operations.refusals import TimerNotFound
from craton.runtime.subscriptions.timers import LEASE, MAX_RUNNING, RETRY
from craton.testing import until
from tests.kernel.alarms import Alarms, Bells, NotNow, OldAlarms, TooLate, alarms, old_alarms
from tests.kernel.conftest import Clock, StartApp

FAR: timedelta = timedelta(days=36_500)


class Tower:
    """An app that rings bells, with its clock at hand."""

    def __init__(self, app: App, bells: Bells, clock: Clock) -> None:
        self.app = app
        self.bells = bells
        self.clock = clock
        self.api = app.api(Alarms)
        self.store = app.running["alarms"].store
        self.timers = app.running["alarms"].timers

    async def forward(self, duration: timedelta) -> None:
        """Turn the clock, and commit something, which makes the runner look at it."""
        self.clock.time += duration
        await self.api.set("never", self.clock.time + FAR)

    async def waiting(self) -> list[Timer]:
        """The timers that are not parked, without those of `forward`."""
        return list(await self.store.due_timers(self.clock.time + FAR / 2, 1_000))

    async def none_waits(self) -> bool:
        return not await self.waiting()

    async def parked(self) -> list[Timer]:
        return list(await self.store.parked_timers())

    async def any_parked(self) -> bool:
        return bool(await self.parked())

    async def tried(self, times: int) -> Timer:
        """The only timer, once it has been tried so often and waits for the next attempt."""

        async def so_often() -> bool:
            return [timer.attempts for timer in await self.waiting()] == [times]

        await until(so_often)
        (timer,) = await self.waiting()
        return timer

    async def until_parked(self) -> Timer:
        """The only parked timer. Whenever one is to be tried again, the clock is turned."""

        async def parked() -> bool:
            await self.forward(RETRY.longest_pause)
            return await self.any_parked()

        await until(parked)
        (timer,) = await self.parked()
        return timer

    async def spins_not(self) -> None:
        """Give the runner many reasons to look again, without time passing."""
        before = len(self.bells.rung)
        for _ in range(20):
            await self.forward(timedelta())
        assert len(self.bells.rung) <= before + 1


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """What was logged."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
async def tower(start: StartApp, clock: Clock) -> Tower:
    bells = Bells()
    return Tower(await start(alarms(bells), clock=clock, subscriptions=True), bells, clock)


async def schedule_plain(tower: Tower, operation: str, arguments: str, at: datetime) -> None:
    """Set a timer as another version of the program would have."""
    timer = Timer("timer-1", at, operation, arguments, "{}")
    (outcome,) = await tower.store.write([Changeset(timers=[timer])])
    assert outcome == 0
    await tower.forward(timedelta())


class TestARefusedTimer:
    async def test_is_done(self, tower: Tower) -> None:
        tower.bells.fail("late", TooLate())

        await tower.api.set("late", tower.clock.time)
        await until(tower.none_waits)

        assert tower.bells.rung == ["late"]
        assert await tower.parked() == []

    async def test_is_done_though_its_command_answers_a_secret(self, tower: Tower) -> None:
        tower.bells.fail("secret", TooLate())

        await tower.api.set_secret("secret", tower.clock.time)
        await until(tower.none_waits)
        await tower.spins_not()

        assert tower.bells.rung == ["secret"]

    async def test_is_tried_again_when_the_refusal_is_only_temporary(self, tower: Tower) -> None:
        tower.bells.fail("early", NotNow())
        await tower.api.set("early", tower.clock.time)
        timer = await tower.tried(1)
        assert timer.error == "NotNow: It can't be done yet."

        del tower.bells.plans["early"]
        await tower.forward(seconds(5))
        await until(tower.none_waits)

        assert tower.bells.rung == ["early", "early"]


class TestAFailingTimer:
    @pytest.fixture
    async def broken(self, tower: Tower) -> Tower:
        """A tower with a bell that breaks whenever it is rung, and whose time has come."""
        tower.bells.fail("broken", ZeroDivisionError("as the test asked"))
        await tower.api.set("broken", tower.clock.time)
        return tower

    async def test_is_tried_again_after_pauses_that_double_up_to_ten_minutes(self, broken: Tower) -> None:
        pauses = []
        for attempt in range(1, RETRY.attempts):
            timer = await broken.tried(attempt)
            pauses.append(timer.due - broken.clock.time)
            await broken.forward(pauses[-1])

        assert pauses == [*(seconds(5 * 2**n) for n in range(7)), minutes(10), minutes(10)]

    async def test_is_not_tried_before_its_pause_is_over(self, broken: Tower) -> None:
        await broken.tried(1)

        await broken.forward(seconds(4.9))
        await broken.spins_not()

        assert broken.bells.rung == ["broken"]

    async def test_is_parked_after_ten_failures_and_not_tried_any_more(self, broken: Tower) -> None:
        parked = await broken.until_parked()

        assert (parked.operation, parked.attempts, parked.error) == (
            "ring",
            10,
            "ZeroDivisionError: as the test asked",
        )
        assert await broken.none_waits()
        await broken.forward(timedelta(days=1))
        await broken.spins_not()
        assert broken.bells.rung == ["broken"] * 10

    async def test_is_logged_when_it_is_parked(self, broken: Tower, logged: list[Any]) -> None:
        parked = await broken.until_parked()

        (line,) = [line for line in logged if line["log_level"] == "error"]
        assert (line["event"], line["timer"], line["operation"]) == ("a timer was parked", parked.id, "ring")
        assert line["reason"] == parked.error

    async def test_stays_parked_for_the_next_process(self, broken: Tower, start: StartApp) -> None:
        await broken.until_parked()
        await broken.app.running["alarms"].rest()
        bells = Bells()
        later = Tower(await start(alarms(bells), clock=broken.clock, subscriptions=True), bells, broken.clock)

        await later.api.set("other", later.clock.time)
        await until(later.none_waits)

        assert bells.rung == ["other"]
        assert len(await later.parked()) == 1

    async def test_is_tried_ten_times_more_when_an_operator_asks(self, broken: Tower) -> None:
        parked = await broken.until_parked()

        await broken.app.operations.retry_timer("alarms", parked.id)
        await broken.forward(timedelta())

        assert (await broken.tried(1)).parked is False
        assert (await broken.until_parked()).attempts == 10

    async def test_runs_when_an_operator_asks_and_its_cause_is_gone(self, broken: Tower) -> None:
        parked = await broken.until_parked()
        del broken.bells.plans["broken"]

        await broken.app.operations.retry_timer("alarms", parked.id)
        await broken.forward(timedelta())
        await until(broken.none_waits)

        assert await broken.parked() == []
        assert len(broken.bells.rung) == 11

    async def test_is_given_up_when_an_operator_asks(self, broken: Tower) -> None:
        parked = await broken.until_parked()

        await broken.app.operations.drop_timer("alarms", parked.id)

        assert await broken.parked() == []
        assert await broken.none_waits()

    async def test_that_is_not_parked_can_be_neither_retried_nor_dropped(self, broken: Tower) -> None:
        timer = await broken.tried(1)

        for verb in (broken.app.operations.retry_timer, broken.app.operations.drop_timer):
            with pytest.raises(TimerNotFound):
                await verb("alarms", timer.id)

        assert await broken.waiting() == [timer]

    async def test_backs_off_but_is_never_parked_when_something_is_only_out_of_reach(self, tower: Tower) -> None:
        tower.bells.fail("far", Unavailable("It is out of reach.", maybe_executed=False))
        await tower.api.set("far", tower.clock.time)

        for attempt in range(1, RETRY.attempts + 3):
            timer = await tower.tried(attempt)
            assert timer.due - tower.clock.time == RETRY.pause_after(attempt)
            await tower.forward(timer.due - tower.clock.time)

        assert await tower.parked() == []

    async def test_is_left_alone_for_a_moment_when_not_even_its_failure_can_be_written(
        self, tower: Tower, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def commit(unit: Changeset) -> int:
            raise StoreUnavailable("The disk is full.", maybe_executed=False)

        monkeypatch.setattr(tower.timers, "_commit", commit)
        monkeypatch.setattr("craton.runtime.subscriptions.timers.ERROR_PAUSE_SECONDS", 30)
        tower.bells.fail("broken", ZeroDivisionError())
        await tower.api.set("broken", tower.clock.time)
        await until(lambda: _rung(tower, "broken"))

        await tower.spins_not()

        assert tower.bells.rung == ["broken"]

    async def test_says_in_one_bounded_line_what_is_wrong_whatever_the_error_holds(self, tower: Tower) -> None:
        tower.bells.fail("odd", ValueError(f"a\0b \ud800 {'x' * 10_000}\nsecond line"))

        await tower.api.set("odd", tower.clock.time)
        timer = await tower.tried(1)

        assert timer.error.startswith("ValueError: a")
        assert len(timer.error) == 500
        assert "second" not in timer.error

    async def test_whose_error_can_not_even_be_shown_is_only_a_failing_one(self, tower: Tower) -> None:
        class Unspeakable(Exception):
            def __str__(self) -> str:
                raise ZeroDivisionError

        tower.bells.fail("unspeakable", Unspeakable())
        await tower.api.set("unspeakable", tower.clock.time)

        assert (await tower.tried(1)).error == "Unspeakable: the error can't be shown (ZeroDivisionError)"

    async def test_whose_command_cancels_itself_is_only_a_failing_one(self, tower: Tower) -> None:
        tower.bells.fail("cancelled", asyncio.CancelledError())
        await tower.api.set("cancelled", tower.clock.time)
        await tower.tried(1)

        await tower.api.set("good", tower.clock.time)

        async def rung() -> bool:
            return "good" in tower.bells.rung

        await until(rung)

    async def test_whose_statement_the_store_refuses_is_a_failing_one(self, tower: Tower) -> None:
        await tower.api.set_wrong(tower.clock.time)

        timer = await tower.tried(1)
        await tower.spins_not()

        assert timer.error.startswith("StatementFailed: ")


class TestATimerThatCannotBeRead:
    @pytest.mark.parametrize(
        ("operation", "arguments", "word"),
        [
            ("gone", "{}", "gone"),
            ("bells", "{}", "bells"),
            ("ring", '{"bell":5}', "$.bell"),
            ("ring", "{}", "bell"),
            ("ring", '{"bell":"a","loud":true}', "loud"),
            ("ring", "no JSON", "JSON"),
            ("odd", '{"odd":"1"}', "TooLate"),
        ],
        ids=["gone", "a query", "of a wrong type", "missing", "unknown", "no JSON", "refused by its type"],
    )
    async def test_is_parked_at_once(self, tower: Tower, operation: str, arguments: str, word: str) -> None:
        await schedule_plain(tower, operation, arguments, tower.clock.time)
        await until(tower.any_parked)

        (timer,) = await tower.parked()
        assert (timer.attempts, timer.due) == (1, tower.clock.time)
        assert word in timer.error
        assert tower.bells.rung == []

    async def test_runs_as_soon_as_a_program_that_can_read_it_takes_over(self, start: StartApp, clock: Clock) -> None:
        """As in a rolling deployment, where the old program meets timers of the new one."""
        old = await start(old_alarms(), clock=clock, subscriptions=True)
        await old.api(OldAlarms).set("new", clock.time)
        store = old.running["alarms"].store

        async def parked() -> bool:
            return len(await store.parked_timers()) == 1

        await until(parked)
        await old.running["alarms"].rest()

        bells = Bells()
        new = Tower(await start(alarms(bells), clock=clock, subscriptions=True), bells, clock)
        await until(lambda: _rung(new, "new"))
        await until(new.none_waits)

        assert await new.parked() == []


class TestArguments:
    async def test_come_back_as_their_types_say(self, tower: Tower) -> None:
        chimes = {12: frozenset({"ding", "dong"}), 1: frozenset({"ding"})}

        await tower.api.set_chimes(chimes, tower.clock.time)
        await until(tower.none_waits)

        assert tower.bells.rung == [chimes]


class TestATimerThatDoesNotEnd:
    async def test_does_not_hold_up_those_that_come_later(self, tower: Tower) -> None:
        tower.bells.hang("stuck")
        await tower.api.set("stuck", tower.clock.time)
        await until(lambda: _rung(tower, "stuck"))

        await tower.api.set("good", tower.clock.time)
        await until(lambda: _rung(tower, "good"))

        await tower.spins_not()
        assert tower.bells.rung == ["stuck", "good"]

    async def test_fails_when_its_time_is_over(self, tower: Tower, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("craton.runtime.subscriptions.timers.ATTEMPT_SECONDS", 0.05)
        tower.bells.hang("stuck")

        await tower.api.set("stuck", tower.clock.time)
        timer = await tower.tried(1)

        assert (timer.attempts, timer.failures) == (1, 1)
        assert timer.error in (  # whichever of the two bounds is noticed first
            "TimeoutError: the work didn't end within 0.05 seconds",
            "DeadlineExceeded: The deadline passed before there was an answer.",
        )

    async def test_is_parked_in_the_end(self, tower: Tower, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("craton.runtime.subscriptions.timers.ATTEMPT_SECONDS", 0.01)
        tower.bells.hang("stuck")

        await tower.api.set("stuck", tower.clock.time)

        assert (await tower.until_parked()).attempts == 10

    async def test_leaves_the_lease_to_be_renewed(self, tower: Tower, monkeypatch: pytest.MonkeyPatch) -> None:
        tower.bells.hang("stuck")
        await tower.api.set("stuck", tower.clock.time)
        await until(lambda: _rung(tower, "stuck"))
        monkeypatch.setattr(
            "craton.runtime.subscriptions.lease.LEASE_SECONDS", 0.0
        )  # whenever it is asked for, it is to be renewed
        renewed: list[str] = []
        acquire = tower.store.acquire

        async def noted(lease: str, owner: str, seconds: float) -> int | None:
            renewed.append(lease)
            return await acquire(lease, owner, 3.0)

        monkeypatch.setattr(tower.store, "acquire", noted)

        async def often() -> bool:
            await tower.forward(timedelta())
            return renewed.count(LEASE) > 3

        await until(often)

    async def test_occupies_one_place_of_many(self, tower: Tower, monkeypatch: pytest.MonkeyPatch) -> None:
        stuck = [f"stuck {n}" for n in range(MAX_RUNNING - 1)]
        for bell in stuck:
            tower.bells.hang(bell)
        await tower.api.set_many(stuck, tower.clock.time)
        await until(lambda: _rung(tower, stuck[-1]))

        await tower.api.set_many([f"good {n}" for n in range(20)], tower.clock.time)
        await until(lambda: _rung(tower, "good 19"))

    async def test_lets_those_behind_it_have_its_place_when_its_time_is_over(
        self, tower: Tower, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stuck = [f"stuck {n}" for n in range(MAX_RUNNING)]
        for bell in stuck:
            tower.bells.hang(bell)
        with monkeypatch.context() as patch:
            patch.setattr("craton.runtime.subscriptions.timers.ATTEMPT_SECONDS", 0.5)
            await tower.api.set_many(stuck, tower.clock.time)

            async def begun() -> bool:
                return bool(tower.bells.rung)

            await until(begun)

        await tower.api.set("good", tower.clock.time)

        await until(lambda: _rung(tower, "good"))

    async def test_does_not_keep_the_app_from_stopping(self, tower: Tower) -> None:
        tower.bells.hang("stuck")
        await tower.api.set("stuck", tower.clock.time)
        await until(lambda: _rung(tower, "stuck"))

        await tower.app.running["alarms"].rest()

        assert [timer.attempts for timer in await tower.waiting()] == [0]


async def _rung(tower: Tower, bell: str) -> bool:
    return bell in tower.bells.rung
