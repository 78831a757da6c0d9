"""Sagas on their way forward: the order of their steps, what is durable when, and that each effect happens once."""

import asyncio

import pytest

from craton.application import AlreadyExists, Retry, Saga, step
from craton.application.context import context
from craton.application.sagas.refusals import SagaNotFound
from craton.application.sagas.state import Status, StepStatus
from tests.kernel.conftest import OpenOffice
from tests.kernel.office import ADA, QUICK, Expedition, Office, Passage
from tests.kernel.travel import Desk, SoldOut, TripId, Weather, unavailable


class TestOrder:
    async def test_a_saga_runs_each_step_when_those_before_it_are_done(self, open_office: OpenOffice) -> None:
        office = await open_office(Expedition)

        trip = await office.begin()

        await office.at_rest(trip, Status.COMPLETED)
        done = await office.happened(trip, "StepDone")
        assert (done[0], set(done[1:3]), done[3:]) == ("base", {"left", "right"}, ["top", "home"])
        assert await office.happened(trip, "StepBegun") == ["base", "left", "right", "top", "home"]

    async def test_each_step_is_tried_once_when_all_goes_well(self, open_office: OpenOffice) -> None:
        office = await open_office(Expedition)

        trip = await office.begin()

        saga = await office.at_rest(trip, Status.COMPLETED)
        assert {(step.status, step.attempts) for step in saga.steps} == {(StepStatus.DONE, 1)}
        assert office.weather.calls.count("base") == 1

    async def test_steps_that_do_not_wait_for_each_other_run_side_by_side(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Expedition)
        weather.plan("left", lambda: weather.called("right"))
        weather.plan("right", lambda: weather.called("left"))

        trip = await office.begin()

        await office.at_rest(trip, Status.COMPLETED)

    async def test_a_step_that_waits_for_two_begins_when_the_slower_is_done(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Expedition)
        slow = asyncio.Event()
        weather.plan("right", slow)
        trip = await office.begin()
        await office.reached(trip, "left", StepStatus.DONE)
        assert office.step(await office.saga(trip), "top").status is StepStatus.IDLE

        slow.set()

        await office.at_rest(trip, Status.COMPLETED)


class TestFields:
    async def test_what_a_step_assigns_is_there_for_the_next(self, office: Office) -> None:
        trip = await office.agency.plan("Ada")

        saga = await office.at_rest(trip, Status.COMPLETED)

        assert saga.fields == {"trip": trip, "flight_booking": f"flight/{trip}", "guides": 1}

    async def test_steps_side_by_side_do_not_lose_each_others_changes(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        class Packing(Saga):
            trip: TripId
            shirts: int = 0
            shoes: int = 0

            @step
            async def wardrobe(self, desk: Desk) -> None:
                self.shirts = 5
                await desk.book(self.trip, "shirts")

            @step
            async def shelf(self, desk: Desk) -> None:
                self.shoes = 2
                await desk.book(self.trip, "shoes")

        office = await open_office(Packing)
        weather.plan("shirts", lambda: weather.called("shoes"))
        weather.plan("shoes", lambda: weather.called("shirts"))

        saga = await office.at_rest(await office.begin(), Status.COMPLETED)

        assert (saga.fields["shirts"], saga.fields["shoes"]) == (5, 2)

    async def test_every_attempt_starts_from_the_fields_with_which_the_step_began(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        class Counting(Saga):
            trip: TripId
            nights: int = 3
            beds: int = 0

            @step(retry=QUICK)
            async def hotel(self, desk: Desk) -> None:
                self.nights += 1
                await desk.book(self.trip, "hotel")

            @step
            async def hostel(self, desk: Desk) -> None:
                self.beds = 4
                await desk.book(self.trip, "hostel")

        office = await open_office(Counting)
        weather.plan("hotel", unavailable(), unavailable())

        saga = await office.at_rest(await office.begin(), Status.COMPLETED)

        assert (saga.fields["nights"], saga.fields["beds"]) == (4, 4)
        assert office.step(saga, "hotel").attempts == 3


class TestDurability:
    async def test_the_intent_is_durable_when_the_step_is_sent(self, open_office: OpenOffice, weather: Weather) -> None:
        office = await open_office(Expedition)
        trip, seen = TripId.new(), list[str]()

        async def look() -> None:
            log = await office.app.running["tours"].store.read_stream(f"saga-{trip}", limit=99)
            seen.extend(event.type for event in log)

        weather.plan("base", look)
        await office.begin(trip)

        await office.at_rest(trip, Status.COMPLETED)
        assert seen == ["SagaStarted", "StepBegun"]

    async def test_a_compensation_is_durable_when_it_is_sent(self, open_office: OpenOffice, weather: Weather) -> None:
        office = await open_office(Passage)
        trip, seen = TripId.new(), list[str]()

        async def look() -> None:
            log = await office.app.running["tours"].store.read_stream(f"saga-{trip}", limit=99)
            seen.append(log[-1].type)

        weather.plan("sail", SoldOut())
        weather.plan("undo cabin", look)
        await office.begin(trip)

        await office.at_rest(trip, Status.COMPENSATED)
        assert seen == ["UndoBegun"]

    async def test_a_result_and_what_follows_from_it_are_one_commit(self, office: Office) -> None:
        trip = await office.agency.plan("Ada")

        await office.at_rest(trip, Status.COMPLETED)

        commits: dict[str | None, list[str]] = {}
        for event in await office.history(trip):
            commits.setdefault(event.metadata.causation, []).append(event.type)
        assert sorted(commits.values()) == [
            ["SagaStarted", "StepBegun", "StepBegun"],
            ["StepDone"],
            ["StepDone", "SagaCompleted"],
            ["StepDone", "StepBegun"],
            ["StepDone", "StepBegun"],
            ["StepDone", "StepBegun"],
        ]

    async def test_a_saga_starts_only_if_its_unit_of_work_commits(self, open_office: OpenOffice) -> None:
        office = await open_office(Passage)
        trip = TripId.new()

        with pytest.raises(RuntimeError, match="fails after all"):
            await office.begin(trip, on_second_thoughts=True)

        with pytest.raises(SagaNotFound):
            await office.saga(trip)
        assert office.weather.calls == []

    async def test_what_starts_a_saga_is_in_the_commit_of_its_start(self, office: Office) -> None:
        trip = await office.agency.plan("Ada")

        store = office.app.running["agency"].store
        planned = (await store.read_stream(f"trip-{trip}", limit=1))[0]
        started = (await store.read_stream(f"saga-{trip}", limit=1))[0]
        assert (planned.type, started.type) == ("TripPlanned", "SagaStarted")
        assert planned.metadata == started.metadata

    async def test_a_second_saga_with_the_same_id_is_refused(self, open_office: OpenOffice) -> None:
        office = await open_office(Passage)
        trip = await office.begin()

        with pytest.raises(AlreadyExists):
            await office.begin(trip)

        await office.at_rest(trip, Status.COMPLETED)
        assert await office.booked(trip, "cabin", "sail", "postcard") == {"cabin": 1, "sail": 1, "postcard": 1}


class TestRetrying:
    async def test_an_attempt_that_did_not_get_through_is_repeated(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Passage)
        weather.cut["cabin"] = 2

        trip = await office.begin()

        saga = await office.at_rest(trip, Status.COMPLETED)
        assert office.step(saga, "cabin").attempts == 3
        assert await office.booked(trip, "cabin") == {"cabin": 1}

    async def test_an_attempt_that_ran_and_whose_answer_got_lost_has_no_second_effect(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Passage)
        weather.lost["cabin"] = 2

        trip = await office.begin()

        saga = await office.at_rest(trip, Status.COMPLETED)
        assert office.step(saga, "cabin").attempts == 3
        assert await office.booked(trip, "cabin") == {"cabin": 1}

    async def test_a_bug_in_a_step_is_an_unknown_outcome_too(self, open_office: OpenOffice, weather: Weather) -> None:
        office = await open_office(Passage)
        weather.plan("cabin", ValueError("a bug"), None)

        saga = await office.at_rest(await office.begin(), Status.COMPLETED)

        assert office.step(saga, "cabin").attempts == 2

    async def test_an_attempt_says_in_the_history_why_it_failed(
        self, open_office: OpenOffice, weather: Weather
    ) -> None:
        office = await open_office(Passage)
        weather.plan("cabin", ValueError("a bug"))

        trip = await office.begin()

        await office.at_rest(trip, Status.COMPLETED)
        (tried,) = [event.data["error"] for event in await office.history(trip) if event.type == "StepTried"]
        assert tried == "ValueError: a bug"

    async def test_the_second_command_of_a_step_has_a_key_of_its_own(self, office: Office, weather: Weather) -> None:
        weather.lost["map"] = 1

        trip = await office.agency.plan("Ada")

        await office.at_rest(trip, Status.COMPLETED)
        assert await office.booked(trip, "guide", "map") == {"guide": 1, "map": 1}


class Looking(Saga):
    trip: TripId
    actor: str = ""
    tenant: str = ""
    correlation: str = ""

    @step(retry=Retry(attempts=1))
    async def look(self) -> None:
        self.actor, self.tenant = context().actor or "", context().tenant or ""
        self.correlation = context().correlation or ""


class TestContext:
    async def test_a_step_acts_for_the_caller_that_began_the_saga(self, open_office: OpenOffice) -> None:
        office = await open_office(Looking)

        saga = await office.at_rest(await office.begin(), Status.COMPLETED)

        assert (saga.fields["actor"], saga.fields["tenant"]) == (ADA.actor, ADA.tenant)
        assert saga.fields["correlation"] == ADA.correlation

    async def test_what_its_commands_record_says_who_and_in_which_conversation_and_under_which_key(
        self, open_office: OpenOffice
    ) -> None:
        office = await open_office(Passage)

        trip = await office.begin()

        await office.at_rest(trip, Status.COMPLETED)
        desk = office.app.running["desk"]
        (cabin,) = await desk.store.read_stream(f"booking-cabin/{trip}", limit=9)
        metadata = desk.module.events.recorded(cabin).metadata
        assert (metadata.actor, metadata.tenant, metadata.correlation) == (ADA.actor, ADA.tenant, ADA.correlation)
        assert metadata.key == f"§{trip}/cabin/Desk.book#1"

    async def test_what_is_recorded_of_a_saga_is_of_the_same_tenant_and_conversation(
        self, open_office: OpenOffice
    ) -> None:
        office = await open_office(Passage)

        trip = await office.begin()

        await office.at_rest(trip, Status.COMPLETED)
        envelopes = [event.metadata for event in await office.history(trip)]
        assert {(metadata.tenant, metadata.correlation) for metadata in envelopes} == {(ADA.tenant, ADA.correlation)}
        assert [metadata.actor for metadata in envelopes[:2]] == [ADA.actor, ADA.actor]
        assert {metadata.actor for metadata in envelopes[2:]} == {"saga"}
