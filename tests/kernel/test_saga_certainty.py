"""What nobody knows is never taken for nothing: refusals that prove little, late reports, two sagas with one id."""

import asyncio
from datetime import UTC, datetime

import pytest

from craton.application import Module, Saga, seconds, step, wait_for
from craton.application.sagas import SagaDefinition
from craton.application.sagas.actions import Action, Done, Refused
from craton.application.sagas.events import SagaId
from craton.application.sagas.rules import SagaProcess
from craton.application.sagas.state import Status, StepStatus
from craton.domain import Recorded
from craton.runtime.sagas.control import SagaControl
from craton.runtime.sagas.directory import AmbiguousSaga
from tests.kernel.conftest import OpenOffice, StartApp
from tests.kernel.office import QUICK, Office, Passage, tours
from tests.kernel.travel import Booked, Desk, SoldOut, TripId, Weather, agency, desk

NOON = datetime(2026, 5, 17, 12, tzinfo=UTC)
LATER = datetime(2026, 5, 17, 13, tzinfo=UTC)


class Careful(Saga):
    """A step that looks before it books."""

    trip: TripId

    @step(retry=QUICK)
    async def cabin(self, desk: Desk) -> None:
        if await desk.bookings(self.trip, "cabin"):
            raise SoldOut()
        await desk.book(self.trip, "cabin")

    @cabin.undo(retry=QUICK)
    async def cancel_cabin(self, desk: Desk) -> None:
        await desk.cancel(self.trip, "cabin")


class CarefulPivot(Saga):
    """A pivot that looks before it books."""

    trip: TripId

    @step(retry=QUICK)
    async def cabin(self, desk: Desk) -> None:
        await desk.book(self.trip, "cabin")

    @cabin.undo(retry=QUICK)
    async def cancel_cabin(self, desk: Desk) -> None:
        await desk.cancel(self.trip, "cabin")

    @step(after=cabin, pivot=True, retry=QUICK)
    async def sail(self, desk: Desk) -> None:
        if await desk.bookings(self.trip, "sail"):
            raise SoldOut()
        await desk.book(self.trip, "sail")


class Hasty(Saga):
    """A step that gives two commands at once."""

    trip: TripId

    @step(retry=QUICK)
    async def both(self, desk: Desk) -> None:
        await asyncio.gather(desk.book(self.trip, "left"), desk.book(self.trip, "right"))


class Patient(Saga):
    """Past the pivot it waits."""

    trip: TripId

    @step(pivot=True)
    async def leave(self, desk: Desk) -> None:
        await desk.book(self.trip, "leave")

    @wait_for(lambda event: event.data.trip, after=leave, timeout=seconds(60))
    async def answer(self, event: Recorded[Booked]) -> None:
        """It is enough that it comes."""


def started(kind: type[Saga]) -> tuple[SagaDefinition[Saga], SagaProcess]:
    definition, trip = SagaDefinition(kind), TripId.new()
    fields = definition.encode(kind(**{"trip": trip}))
    process = SagaProcess.start(SagaId(trip), definition, fields, NOON, actor=None, tenant=None, correlation=None)
    return definition, process


async def test_a_step_that_raises_a_refusal_after_its_command_ran_is_undone(
    open_office: OpenOffice, weather: Weather
) -> None:
    office = await open_office(Careful)
    weather.lost["cabin"] = 1

    trip = await office.begin()

    await office.at_rest(trip, Status.COMPENSATED)
    assert await office.booked(trip, "cabin") == {"cabin": 0}
    assert "undo cabin" in weather.calls


async def test_a_pivot_that_raises_a_refusal_after_its_command_ran_does_not_start_compensation(
    open_office: OpenOffice, weather: Weather
) -> None:
    office = await open_office(CarefulPivot)
    weather.lost["sail"] = 1

    trip = await office.begin()

    saga = await office.at_rest(trip, Status.STUCK)
    assert saga.note == "sail was refused: There is none left."
    assert await office.booked(trip, "cabin", "sail") == {"cabin": 1, "sail": 1}


async def test_two_commands_at_once_are_refused_with_a_sentence(open_office: OpenOffice) -> None:
    office = await open_office(Hasty)

    trip = await office.begin()

    await office.reached(trip, "both", StepStatus.DONE, StepStatus.UNKNOWN)
    tried = [event.data["error"] for event in await office.history(trip) if event.type == "StepTried"]
    assert "gives Desk.book while another command runs" in tried[0]


async def test_sagas_of_two_modules_with_one_id_are_not_confused(start: StartApp, weather: Weather) -> None:
    modules: list[Module] = [desk(weather), agency(), tours(Passage)]
    office = Office(await start(*modules, subscriptions=True, copied_calls=True), weather)
    trip = await office.agency.plan("Ada")
    await office.begin(trip)

    with pytest.raises(AmbiguousSaga):
        await office.order(SagaControl.resolve, trip, note="which one?")


def test_a_report_from_before_an_operators_retry_is_ignored() -> None:
    definition, process = started(Patient)
    late = Action("do", "leave", 0)
    refusal = Refused("sold-out", "There is none left.", "Desk.book#1", certain=False, changes={})
    process.report(definition, late, refusal, NOON)
    process.retry(definition, "there is one again", NOON)

    process.report(definition, late, refusal, NOON)

    assert process.state.status is Status.RUNNING
    assert process.actions(NOON) == (Action("do", "leave", 1),)


def test_past_the_pivot_waiting_too_long_leaves_the_saga_stuck_and_a_retry_gives_it_as_long_again() -> None:
    definition, process = started(Patient)
    process.report(definition, Action("do", "leave", 0), Done({}), NOON)

    process.expire(definition, LATER)
    assert (process.state.status, process.state.note) == (Status.STUCK, "answer took too long")
    process.retry(definition, "they have promised to write", LATER)
    process.expire(definition, LATER)

    assert process.state.status is Status.RUNNING
    assert process.state.step("answer").status is StepStatus.WAITING


def test_an_event_for_a_step_that_the_saga_does_not_have_is_passed_over() -> None:
    _, process = started(Patient)

    process.arrive("question", "{}", NOON)

    assert [type(event).__name__ for event in process.recorded] == ["SagaStarted", "StepBegun"]
