"""Sagas on their way back: exactly what may have run is undone, last first, and what can't be undone is seen."""

import asyncio
from functools import partial

import pytest

from craton.application import Saga, step
from craton.application.sagas.state import Status, StepStatus
from tests.kernel.conftest import OpenOffice
from tests.kernel.office import QUICK, Expedition, Office, Passage
from tests.kernel.travel import BookingId, Desk, SoldOut, TripId, Weather, unavailable

BESIDE = {"left": "right", "right": "left"}
UNDONE_AFTER = {
    "base": [],
    "left": [{"right"}, {"base"}],
    "right": [{"left"}, {"base"}],
    "top": [{"left", "right"}, {"base"}],
    "home": [{"top"}, {"left", "right"}, {"base"}],
}
"""What is undone when a step of an expedition fails without having run, last first."""
THINGS = ("base", "left", "right", "top", "home")


async def _when_the_other_is_done(office: Office, trip: TripId, failing: str, problem: Exception | None) -> None:
    if failing in BESIDE:
        await office.reached(trip, BESIDE[failing], StepStatus.DONE)
    if problem is not None:
        raise problem


async def _undone(office: Office, trip: TripId) -> list[str]:
    """The steps that were undone, in order; each began to be undone when those after it had been."""
    history = [(event.type, event.data["step"]) for event in await office.history(trip) if "step" in event.data]
    order = [name for kind, name in history if kind == "UndoDone"]
    for earlier, later in (("base", "left"), ("base", "right"), ("left", "top"), ("right", "top"), ("top", "home")):
        if earlier in order and later in order:
            assert history.index(("UndoDone", later)) < history.index(("UndoBegun", earlier))
    return order


def _in_groups(order: list[str], groups: list[set[str]]) -> list[set[str]]:
    """Cut an order into groups of the same sizes."""
    found, left = list[set[str]](), list(order)
    for group in groups:
        found.append(set(left[: len(group)]))
        left = left[len(group) :]
    return [*found, set(left)] if left else found


class TestOrder:
    @pytest.mark.parametrize("failing", THINGS)
    async def test_a_refusal_undoes_what_was_done_and_nothing_else(
        self, open_office: OpenOffice, weather: Weather, failing: str
    ) -> None:
        office, trip = await open_office(Expedition), TripId.new()
        weather.plan(failing, partial(_when_the_other_is_done, office, trip, failing, SoldOut()))

        await office.begin(trip)

        saga = await office.at_rest(trip, Status.COMPENSATED)
        order = await _undone(office, trip)
        assert _in_groups(order, UNDONE_AFTER[failing]) == UNDONE_AFTER[failing]
        assert office.step(saga, failing).status is StepStatus.REFUSED
        assert await office.booked(trip, *THINGS) == dict.fromkeys(THINGS, 0)

    @pytest.mark.parametrize("failing", THINGS)
    async def test_an_unknown_step_that_never_ran_is_not_undone(
        self, open_office: OpenOffice, weather: Weather, failing: str
    ) -> None:
        office, trip = await open_office(Expedition), TripId.new()
        first = partial(_when_the_other_is_done, office, trip, failing, unavailable())
        weather.plan(failing, first, unavailable(), unavailable())

        await office.begin(trip)

        saga = await office.at_rest(trip, Status.COMPENSATED)
        order = await _undone(office, trip)
        assert _in_groups(order, UNDONE_AFTER[failing]) == UNDONE_AFTER[failing]
        assert office.step(saga, failing).status is StepStatus.NEVER_RAN
        assert await office.booked(trip, *THINGS) == dict.fromkeys(THINGS, 0)

    @pytest.mark.parametrize("failing", THINGS)
    async def test_an_unknown_step_that_ran_is_undone_first(
        self, open_office: OpenOffice, weather: Weather, failing: str
    ) -> None:
        office, trip = await open_office(Expedition), TripId.new()
        weather.plan(failing, partial(_when_the_other_is_done, office, trip, failing, None))
        weather.lost[failing] = 3

        await office.begin(trip)

        saga = await office.at_rest(trip, Status.COMPENSATED)
        order = await _undone(office, trip)
        groups = _expected(failing)
        assert _in_groups(order, groups) == groups
        assert office.step(saga, failing).status is StepStatus.UNDONE
        assert await office.booked(trip, *THINGS) == dict.fromkeys(THINGS, 0)

    async def test_a_step_that_runs_when_another_is_refused_is_settled_before_what_is_before_it_is_undone(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Expedition)

        async def refuse() -> None:
            await weather.called("right")
            raise SoldOut()

        weather.plan("left", refuse)
        weather.plan("right", asyncio.Event())
        trip = await office.begin()

        await office.at_rest(trip, Status.COMPENSATED)

        history = [(event.type, event.data.get("step")) for event in await office.history(trip)]
        assert history.index(("StepSettled", "right")) < history.index(("UndoBegun", "base"))
        assert await office.booked(trip, *THINGS) == dict.fromkeys(THINGS, 0)


def _expected(failing: str) -> list[set[str]]:
    """What is undone when the step had run: it goes first, or beside the other of its kind."""
    if failing in BESIDE:
        return [{"left", "right"}, {"base"}]
    return [{failing}, *UNDONE_AFTER[failing]]


class TestRefusals:
    async def test_the_saga_says_why_it_turned_round(self, open_office: OpenOffice, weather: Weather) -> None:
        office = await open_office(Passage)
        weather.plan("cabin", SoldOut())

        saga = await office.at_rest(await office.begin(), Status.COMPENSATED)

        assert (saga.code, saga.reason) == ("sold-out", "There is none left.")
        cabin = office.step(saga, "cabin")
        assert (cabin.code, cabin.error, cabin.attempts) == ("sold-out", "There is none left.", 1)

    async def test_a_refusal_is_not_tried_again(self, open_office: OpenOffice, weather: Weather) -> None:
        office = await open_office(Passage)
        weather.plan("cabin", SoldOut())

        await office.at_rest(await office.begin(), Status.COMPENSATED)

        assert weather.calls == ["cabin"]

    async def test_a_step_whose_second_command_is_refused_is_undone_too(self, office: Office, weather: Weather) -> None:
        weather.plan("map", SoldOut())

        trip = await office.agency.plan("Ada")

        await office.at_rest(trip, Status.COMPENSATED)
        assert (await office.happened(trip, "UndoBegun"))[0] == "guide"
        assert await office.booked(trip, "guide", "map") == {"guide": 0, "map": 0}

    async def test_a_step_that_changes_its_mind_after_its_command_is_undone_too(self, open_office: OpenOffice) -> None:
        class Fickle(Saga):
            trip: TripId

            @step
            async def book(self, desk: Desk) -> None:
                await desk.book(self.trip, "cruise")
                raise SoldOut()

            @book.undo
            async def cancel(self, desk: Desk) -> None:
                await desk.cancel(self.trip, "cruise")

        office = await open_office(Fickle)
        trip = await office.begin()

        await office.at_rest(trip, Status.COMPENSATED)

        assert office.weather.calls == ["cruise", "undo cruise"]

    async def test_a_compensation_sees_what_the_refused_step_had_learnt(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        class Voyage(Saga):
            trip: TripId
            ship: BookingId | None = None

            @step
            async def embark(self, desk: Desk) -> None:
                self.ship = await desk.book(self.trip, "ship")
                await desk.book(self.trip, "berth")

            @embark.undo(retry=QUICK)
            async def disembark(self, desk: Desk) -> None:
                assert self.ship is not None
                await desk.cancel(self.trip, "ship")

        office = await open_office(Voyage)
        weather.plan("berth", SoldOut())

        trip = await office.begin()

        await office.at_rest(trip, Status.COMPENSATED)
        assert await office.booked(trip, "ship") == {"ship": 0}

    async def test_a_step_without_a_compensation_is_passed_over(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        class Stroll(Saga):
            trip: TripId

            @step
            async def look(self, desk: Desk) -> None:
                await desk.book(self.trip, "view")

            @step(after=look)
            async def eat(self, desk: Desk) -> None:
                await desk.book(self.trip, "lunch")

        office = await open_office(Stroll)
        weather.plan("lunch", SoldOut())
        trip = await office.begin()

        saga = await office.at_rest(trip, Status.COMPENSATED)

        assert office.step(saga, "look").status is StepStatus.DONE
        assert await office.booked(trip, "view") == {"view": 1}


class TestFailingCompensations:
    async def test_a_compensation_is_tried_again_under_the_same_key(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Expedition)
        weather.plan("top", SoldOut())
        weather.lost["undo left"] = 1
        weather.cut["undo right"] = 2

        trip = await office.begin()

        saga = await office.at_rest(trip, Status.COMPENSATED)
        assert (office.step(saga, "left").undo_attempts, office.step(saga, "right").undo_attempts) == (2, 3)
        assert await office.booked(trip, *THINGS) == dict.fromkeys(THINGS, 0)

    async def test_when_its_attempts_end_the_others_are_undone_all_the_same(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Expedition)
        weather.plan("home", SoldOut())
        weather.cut["undo top"] = 3

        trip = await office.begin()

        saga = await office.at_rest(trip, Status.STUCK)
        assert saga.note == "top can't be undone"
        assert office.step(saga, "top").status is StepStatus.UNDO_FAILED
        booked = {"top": 1, "left": 0, "right": 0, "base": 0}
        assert await office.booked(trip, *booked) == booked

    async def test_a_refused_compensation_is_not_tried_again(self, open_office: OpenOffice, weather: Weather) -> None:
        office = await open_office(Expedition)
        weather.plan("top", SoldOut())
        weather.plan("undo right", SoldOut())

        saga = await office.at_rest(await office.begin(), Status.STUCK)

        assert weather.calls.count("undo right") == 1
        assert office.step(saga, "right").error == "There is none left."

    async def test_a_stuck_saga_names_all_that_can_not_be_undone(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Expedition)
        weather.plan("top", SoldOut())
        for name in ("left", "base"):
            weather.plan(f"undo {name}", SoldOut())

        saga = await office.at_rest(await office.begin(), Status.STUCK)

        assert saga.note == "base, left can't be undone"
        assert saga.code == "sold-out"

    async def test_a_compensation_sees_what_the_step_has_assigned(self, office: Office, weather: Weather) -> None:
        weather.plan("guide", SoldOut())

        saga = await office.at_rest(await office.agency.plan("Ada"), Status.COMPENSATED)

        assert office.step(saga, "flight").status is StepStatus.UNDONE
