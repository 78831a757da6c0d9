"""Sagas: whatever fails on the way, each ends in a state that its owner would sign."""

import pytest

from craton.application.api import operation_of
from craton.application.context import Context
from craton.application.sagas.state import SagaId, SagaState, Status, StepStatus
from craton.domain import Text
from craton.runtime import App
from craton.runtime.sagas.control import SagaControl
from tests.kernel.conftest import StartApp, eventually
from tests.kernel.travel import Agency, Desk, SoldOut, TripId, Weather, agency, desk, unavailable


class Office:
    """A running agency and what its tests ask of it."""

    def __init__(self, app: App, weather: Weather) -> None:
        self.app = app
        self.weather = weather
        self.agency = app.api(Agency)
        self.desk = app.api(Desk)

    async def saga(self, trip: TripId) -> SagaState:
        sagas = self.app.running["agency"].sagas
        assert sagas is not None
        asked = operation_of(SagaControl.saga)
        state: SagaState = (await sagas.use_cases.run(asked, {"saga": SagaId(trip)}, Context())).result
        return state

    async def ended(self, trip: TripId, status: Status) -> SagaState:
        async def there() -> bool:
            return (await self.saga(trip)).status is status

        await eventually(there)
        return await self.saga(trip)

    async def booked(self, trip: TripId, *things: str) -> dict[str, int]:
        return {what: await self.desk.bookings(trip, what) for what in things}


@pytest.fixture
def weather() -> Weather:
    return Weather()


@pytest.fixture
async def office(start: StartApp, weather: Weather) -> Office:
    return Office(await start(desk(weather), agency(), subscriptions=True, copied_calls=True), weather)


async def test_a_saga_runs_its_steps_in_the_order_of_its_graph(office: Office) -> None:
    trip = await office.agency.plan("Ada")

    state = await office.ended(trip, Status.COMPLETED)

    assert [(step.name, step.status, step.attempts) for step in state.steps] == [
        (name, StepStatus.DONE, 1) for name in ("flight", "hotel", "guide", "confirm", "letter")
    ]
    assert set(office.weather.calls[:2]) == {"flight", "hotel"}
    assert await office.agency.confirmed(trip)


async def test_a_refusal_undoes_what_was_done_last_first(office: Office) -> None:
    office.weather.plan("guide", SoldOut())
    trip = await office.agency.plan("Ada")

    state = await office.ended(trip, Status.COMPENSATED)

    assert (state.code, state.reason) == ("sold-out", "There is none left.")
    assert await office.booked(trip, "flight", "hotel", "guide") == {"flight": 0, "hotel": 0, "guide": 0}
    assert "undo guide" not in office.weather.calls


async def test_a_policy_reacts_once_to_each_event(office: Office) -> None:
    trip = await office.agency.plan("Ada")
    await office.ended(trip, Status.COMPLETED)

    async def souvenir() -> bool:
        return (await office.booked(trip, "souvenir")) == {"souvenir": 1}

    await eventually(souvenir)


async def test_an_unknown_outcome_is_tried_again_under_the_same_key(office: Office) -> None:
    office.weather.plan("hotel", unavailable(), unavailable())
    trip = await office.agency.plan("Ada")

    state = await office.ended(trip, Status.COMPLETED)

    assert state.step("hotel").attempts == 3
    assert await office.booked(trip, "hotel") == {"hotel": 1}


async def test_when_the_retries_end_the_saga_compensates(office: Office) -> None:
    office.weather.plan("hotel", *[unavailable()] * 3)
    trip = await office.agency.plan("Ada")

    state = await office.ended(trip, Status.COMPENSATED)

    assert state.code == "outcome-unknown"
    assert state.step("hotel").status is StepStatus.NEVER_RAN
    assert await office.booked(trip, "flight", "hotel") == {"flight": 0, "hotel": 0}


async def test_a_saga_waits_for_an_event(office: Office) -> None:
    trip = await office.agency.await_visa("Ada")
    await office.desk.book(trip, "visa")

    state = await office.ended(trip, Status.COMPLETED)

    assert '"what":"visa"' in state.fields


async def test_a_step_that_is_refused_past_the_pivot_leaves_the_saga_stuck_until_it_is_retried(office: Office) -> None:
    office.weather.plan("letter", SoldOut())
    trip = await office.agency.plan("Ada")
    state = await office.ended(trip, Status.STUCK)
    assert state.note == "letter was refused: There is none left."

    sagas = office.app.running["agency"].sagas
    assert sagas is not None
    arguments = {"saga": SagaId(trip), "reason": Text("they have some again")}
    await sagas.use_cases.run(operation_of(SagaControl.retry), arguments, Context(actor="ada"))

    state = await office.ended(trip, Status.COMPLETED)
    assert await office.booked(trip, "letter") == {"letter": 1}
