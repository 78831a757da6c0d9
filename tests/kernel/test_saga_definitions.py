"""A saga that can't work is refused at start, in a sentence that says what and where."""

from typing import Any

import pytest

from craton.application import Api, Module, Saga, Sagas, WiringError, command, step, wait_for
from craton.application.codec import encode
from craton.application.sagas import SagaDefinition
from craton.domain import Event, Recorded, Secret
from craton.runtime import App
from tests.kernel.conftest import StartApp
from tests.kernel.office import Expedition, Tours, tours
from tests.kernel.travel import Booked, Cancelled, Desk, TripId, Weather, desk


class Guides(Api):
    @command
    async def hire(self) -> None:
        """Nobody provides it."""


class Lost(Event):
    """Nobody records it."""


class Sealed(Event):
    token: Secret


class Ticketing(Saga):
    trip: TripId
    seats: tuple[str, ...]
    note: str = ""

    @step
    async def print(self, desk: Desk) -> None:
        await desk.book(self.trip, "ticket")


class TestChanges:
    definition = SagaDefinition(Ticketing)

    def test_only_those_that_a_step_has_set_anew_are_changed(self) -> None:
        saga = Ticketing(trip=TripId.new(), seats=("1A", "1B"))
        before = encode(saga)

        saga.note = "printed"

        assert self.definition.changes(before, saga) == {"note": "printed"}

    def test_changes_are_as_they_are_read_back(self) -> None:
        saga = Ticketing(trip=TripId.new(), seats=())
        before = encode(saga)

        saga.seats = ("1A",)

        assert self.definition.changes(before, saga) == {"seats": ["1A"]}

    def test_values_that_an_operator_gives_are_as_they_are_read_back(self) -> None:
        text = self.definition.encode(Ticketing(trip=TripId.new(), seats=()))

        assert self.definition.checked(text, {"seats": ["1A"]}) == {"seats": ["1A"]}


class TestSteps:
    def test_a_saga_without_steps_is_refused(self) -> None:
        class Idle(Saga):
            trip: TripId

        with pytest.raises(WiringError, match=r"^saga Idle has no steps: mark its methods with @step$"):
            SagaDefinition(Idle)

    def test_a_cycle_is_refused(self) -> None:
        class Round(Saga):
            @step(after="third")
            async def first(self) -> None: ...
            @step(after=first)
            async def second(self) -> None: ...
            @step(after=second)
            async def third(self) -> None: ...

        with pytest.raises(WiringError, match=r"^saga Round: first after third after second after first is a cycle$"):
            SagaDefinition(Round)

    def test_a_step_that_comes_after_itself_is_refused(self) -> None:
        class Own(Saga):
            @step(after="only")
            async def only(self) -> None: ...

        with pytest.raises(WiringError, match=r"^saga Own: only after only is a cycle$"):
            SagaDefinition(Own)

    def test_a_step_after_an_unknown_one_is_refused(self) -> None:
        class Far(Saga):
            @step(after="nowhere")
            async def only(self) -> None: ...

        with pytest.raises(WiringError, match=r"^saga Far: only comes after 'nowhere', which is none of its steps$"):
            SagaDefinition(Far)

    def test_a_parameter_without_an_annotation_is_refused(self) -> None:
        class Vague(Saga):
            @step
            async def book(self, desk) -> None: ...  # type: ignore[no-untyped-def]

        with pytest.raises(WiringError, match=r"^saga Vague.book: parameter 'desk' has no annotation$"):
            SagaDefinition(Vague)

    def test_a_parameter_of_a_compensation_without_an_annotation_is_refused(self) -> None:
        class Vague(Saga):
            @step
            async def book(self, desk: Desk) -> None: ...
            @book.undo
            async def cancel(self, desk) -> None: ...  # type: ignore[no-untyped-def]

        with pytest.raises(WiringError, match=r"^saga Vague\.book\.undo: parameter 'desk' has no annotation$"):
            SagaDefinition(Vague)

    def test_its_steps_are_ordered_by_their_graph_and_not_by_their_place(self) -> None:
        class Backwards(Saga):
            @step(after="first")
            async def second(self) -> None: ...
            @step
            async def first(self) -> None: ...

        assert SagaDefinition(Backwards).order == ("first", "second")


class TestThePivot:
    def test_two_pivots_are_refused(self) -> None:
        class Twice(Saga):
            @step(pivot=True)
            async def one(self) -> None: ...
            @step(after=one, pivot=True)
            async def two(self) -> None: ...

        with pytest.raises(WiringError, match=r"^saga Twice has two pivots, one and two; there is one at most$"):
            SagaDefinition(Twice)

    def test_a_pivot_with_a_compensation_is_refused(self) -> None:
        class Torn(Saga):
            @step(pivot=True)
            async def go(self) -> None: ...
            @go.undo
            async def come_back(self) -> None: ...

        with pytest.raises(
            WiringError, match=r"^saga Torn: go has a compensation, but past the pivot nothing is undone"
        ):
            SagaDefinition(Torn)

    def test_a_compensation_past_the_pivot_is_refused(self) -> None:
        class Torn(Saga):
            @step(pivot=True)
            async def go(self) -> None: ...
            @step(after=go)
            async def stay(self) -> None: ...
            @stay.undo
            async def leave(self) -> None: ...

        with pytest.raises(WiringError, match=r"^saga Torn: stay has a compensation, but past the pivot nothing is"):
            SagaDefinition(Torn)

    def test_a_step_beside_the_pivot_is_refused(self) -> None:
        class Aside(Saga):
            @step(pivot=True)
            async def go(self) -> None: ...
            @step
            async def eat(self) -> None: ...

        with pytest.raises(
            WiringError, match=r"^saga Aside: eat runs beside the pivot go, so that nobody knows whether"
        ):
            SagaDefinition(Aside)


class TestFields:
    @pytest.mark.parametrize("kind", [object, complex, Weather, Desk])
    def test_a_field_that_can_not_be_stored_is_refused(self, kind: Any) -> None:
        class Heavy(Saga):
            luggage: kind

            @step
            async def go(self) -> None: ...

        with pytest.raises(WiringError, match=r"^saga Heavy: its fields can't be stored: "):
            SagaDefinition(Heavy)

    def test_a_field_that_holds_a_secret_is_refused(self) -> None:
        class Careless(Saga):
            token: Secret | None = None

            @step
            async def go(self) -> None: ...

        with pytest.raises(WiringError, match=r"^saga Careless: one of its fields holds a Secret, and operators see"):
            SagaDefinition(Careless)

    def test_fields_are_given_by_name(self) -> None:
        with pytest.raises(TypeError):
            Expedition(TripId.new())


class TestWaiting:
    def test_a_step_that_waits_must_take_an_event(self) -> None:
        class Deaf(Saga):
            @wait_for(lambda event: None)
            async def listen(self) -> None: ...

        with pytest.raises(WiringError, match=r"^saga Deaf: listen waits, so it must take event: Recorded\[…\]$"):
            SagaDefinition(Deaf)

    def test_a_step_that_waits_must_take_it_with_its_envelope(self) -> None:
        class Bare(Saga):
            @wait_for(lambda event: None)
            async def listen(self, event: Booked) -> None: ...

        with pytest.raises(WiringError, match=r"^saga Bare: listen waits, so it must take event: Recorded\[…\]$"):
            SagaDefinition(Bare)

    def test_a_step_that_waits_must_say_for_which_events(self) -> None:
        class Open(Saga):
            @wait_for(lambda event: None)
            async def listen(self, event: Recorded[Any]) -> None: ...

        with pytest.raises(WiringError, match=r"Open: listen"):
            SagaDefinition(Open)

    def test_a_step_does_not_wait_for_an_event_that_holds_a_secret(self) -> None:
        class Nosy(Saga):
            @wait_for(lambda event: None)
            async def listen(self, event: Recorded[Booked | Sealed]) -> None: ...

        with pytest.raises(WiringError, match=r"^saga Nosy: listen waits for Sealed, which holds a Secret\."):
            SagaDefinition(Nosy)

    def test_a_step_may_wait_for_one_of_several_events(self) -> None:
        class Either(Saga):
            @wait_for(lambda event: None)
            async def listen(self, event: Recorded[Booked | Cancelled]) -> None: ...

        assert SagaDefinition(Either).awaits == {"listen": (Booked, Cancelled)}

    def test_an_event_that_no_module_records_is_refused(self) -> None:
        class Patient(Saga):
            trip: TripId

            @wait_for(lambda event: None)
            async def listen(self, event: Recorded[Lost]) -> None: ...

        with pytest.raises(WiringError, match=r"^app travel: Patient\.listen reacts to Lost, which no module records$"):
            App("travel", modules=[tours(Patient)])


class TestModules:
    async def test_a_step_that_asks_for_an_api_that_no_module_provides_is_refused(self, start: StartApp) -> None:
        class Guided(Saga):
            trip: TripId

            @step
            async def hire(self, guides: Guides) -> None: ...

        with pytest.raises(WiringError, match=r"no module provides Guides"):
            await start(tours(Guided))

    async def test_a_compensation_that_asks_for_an_api_that_no_module_provides_is_refused(
        self, start: StartApp
    ) -> None:
        class Guided(Saga):
            trip: TripId

            @step
            async def hire(self) -> None: ...
            @hire.undo
            async def fire(self, guides: Guides) -> None: ...

        with pytest.raises(WiringError, match=r"no module provides Guides"):
            await start(tours(Guided))

    async def test_a_step_that_asks_for_a_port_without_an_adapter_is_refused(self, start: StartApp) -> None:
        class Rainy(Saga):
            trip: TripId

            @step
            async def wait(self, weather: Weather) -> None: ...

        with pytest.raises(WiringError, match=r"^module tours: Rainy\.wait asks for weather: Weather, which nothing"):
            await start(tours(Rainy), desk(Weather()))

    def test_a_service_may_start_only_sagas_of_its_own_module(self) -> None:
        class Service(Tours):
            def __init__(self, sagas: Sagas[Expedition]) -> None: ...

            async def begin(self, trip: TripId, *, on_second_thoughts: bool = False) -> TripId:
                return trip

        (problem,) = App("travel", modules=[Module("tours", api=Tours, service=Service)]).wiring.problems()

        assert problem == "module tours: Service asks for sagas: Expedition is none of its sagas"

    def test_two_sagas_of_a_module_have_different_names(self) -> None:
        with pytest.raises(WiringError, match=r"^module tours: two policies or two sagas have the same name$"):
            Module("tours", api=Tours, service=_Silent, sagas=[Expedition, Expedition])


class _Silent(Tours):
    async def begin(self, trip: TripId, *, on_second_thoughts: bool = False) -> TripId:
        return trip


class TestFingerprints:
    def test_two_definitions_that_say_the_same_are_the_same(self) -> None:
        assert SagaDefinition(_walk()).fingerprint == SagaDefinition(_walk()).fingerprint

    @pytest.mark.parametrize(
        "other", [{"fields": {"trip": TripId, "days": int}}, {"pivot": True}, {"undo": True}, {"after": ()}]
    )
    def test_another_field_step_order_pivot_or_compensation_makes_another_definition(self, other: Any) -> None:
        assert SagaDefinition(_walk(**other)).fingerprint != SagaDefinition(_walk()).fingerprint

    def test_another_docstring_makes_no_other_definition(self) -> None:
        said_better = _walk()
        said_better.__doc__ = "Go, and rest."

        assert SagaDefinition(said_better).fingerprint == SagaDefinition(_walk()).fingerprint

    def test_a_definition_goes_on_with_the_sagas_of_earlier_ones_that_it_names(self) -> None:
        walk: Any = _walk()
        walk.former_fingerprints = ("28463674f18a417cf63bf19a58059fba",)

        definition = SagaDefinition(walk)

        assert {definition.fingerprint, "28463674f18a417cf63bf19a58059fba"} <= set(definition.fingerprints)


def _walk(
    *, fields: dict[str, Any] | None = None, pivot: bool = False, undo: bool = False, after: Any = "go"
) -> type[Saga]:
    class Walk(Saga):
        __annotations__ = fields or {"trip": TripId}

        @step
        async def go(self) -> None: ...
        @step(after=after, pivot=pivot)
        async def rest(self) -> None: ...

        if undo:

            @go.undo
            async def back(self) -> None: ...

    return Walk
