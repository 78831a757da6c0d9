"""Sagas: whatever fails on the way, each ends in a state that its owner would sign."""

from typing import Any

import pytest

from craton.application.api import operation_of
from craton.application.context import Context
from craton.application.sagas.state import SagaId, Status, StepStatus
from craton.domain import Text
from craton.runtime import App
from craton.runtime.sagas.control import SagaControl
from craton.runtime.sagas.desk import call_sagas
from craton.runtime.sagas.view import SagaView, StepView
from tests.kernel.conftest import StartApp, eventually
from tests.kernel.travel import Agency, Desk, SoldOut, TripId, Weather, agency, desk, unavailable


class Office:
    """A running agency and what its tests ask of it."""

    def __init__(self, app: App, weather: Weather) -> None:
        self.app = app
        self.weather = weather
        self.agency = app.api(Agency)
        self.desk = app.api(Desk)

    async def saga(self, trip: TripId) -> SagaView:
        view: SagaView = await self.order(SagaControl.saga, trip)
        return view

    async def order(self, verb: Any, trip: TripId, **arguments: Any) -> Any:
        """Ask after a saga, or do something to it, as an operator would."""
        operation = operation_of(verb)
        bound = operation.bind((), {"saga": SagaId(trip), **arguments})
        return (await call_sagas(self.app.running, operation, bound, Context(actor="ada"))).result

    async def ended(self, trip: TripId, status: Status) -> SagaView:
        async def there() -> bool:
            return (await self.saga(trip)).status is status

        await eventually(there)
        return await self.saga(trip)

    @staticmethod
    def step(saga: SagaView, name: str) -> StepView:
        (found,) = (step for step in saga.steps if step.name == name)
        return found

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

    assert office.step(state, "hotel").attempts == 3
    assert await office.booked(trip, "hotel") == {"hotel": 1}


async def test_when_the_retries_end_the_saga_compensates(office: Office) -> None:
    office.weather.plan("hotel", *[unavailable()] * 3)
    trip = await office.agency.plan("Ada")

    state = await office.ended(trip, Status.COMPENSATED)

    assert state.code == "outcome-unknown"
    assert office.step(state, "hotel").status is StepStatus.NEVER_RAN
    assert await office.booked(trip, "flight", "hotel") == {"flight": 0, "hotel": 0}


async def test_a_saga_waits_for_an_event(office: Office) -> None:
    trip = await office.agency.await_visa("Ada")
    await office.desk.book(trip, "visa")

    state = await office.ended(trip, Status.COMPLETED)

    assert state.fields["what"] == "visa"


async def test_a_step_that_is_refused_past_the_pivot_leaves_the_saga_stuck_until_it_is_retried(office: Office) -> None:
    office.weather.plan("letter", SoldOut())
    trip = await office.agency.plan("Ada")
    state = await office.ended(trip, Status.STUCK)
    assert state.note == "letter was refused: There is none left."

    await office.order(SagaControl.retry, trip, reason=Text("they have some again"))

    state = await office.ended(trip, Status.COMPLETED)
    assert await office.booked(trip, "letter") == {"letter": 1}
