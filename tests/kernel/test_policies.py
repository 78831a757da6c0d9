"""Policies: whenever this happens, do that; once, in order, and whoever can't be served holds up nobody else."""

import asyncio
import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from craton.application import Context, Module, Policy, WiringError
from craton.application.api import operation_of
from craton.application.codec import decode
from craton.application.policy import PolicyDefinition
from craton.domain import Recorded
from craton.ports import FenceLost, Store
from craton.runtime import App
from craton.runtime.compatibility.registry import register_policies
from craton.runtime.subscriptions.feed import EventPage
from craton.runtime.subscriptions.lease import LEASE_SECONDS, Lease
from craton.runtime.subscriptions.policies import PolicyHandler
from tests.conftest import Place
from tests.kernel.club import QUICK, Club, ClubHouse, ClubService, Diary, Greeting, club_house
from tests.kernel.office import ADA, Line, Office
from tests.kernel.travel import Booked, Cancelled, Desk, SoldOut, TripId, Weather, desk, unavailable


@pytest.fixture
async def house(place: Place, weather: Weather) -> AsyncIterator[ClubHouse]:
    async with club_house(place, weather, Diary) as house:
        yield house


class TestReacting:
    async def test_a_policy_reacts_to_each_event(self, house: ClubHouse) -> None:
        trip = TripId.new()

        await house.desk.book(trip, "flight")
        await house.desk.book(trip, "hotel")

        await house.noted(trip, "booked flight", "booked hotel")

    async def test_it_begins_with_the_first_event_there_ever_was(self, place: Place, weather: Weather) -> None:
        trip = TripId.new()
        async with club_house(place, weather) as house:
            await house.desk.book(trip, "flight")

        async with club_house(place, weather, Diary) as house:
            await house.noted(trip, "booked flight")

    async def test_it_reacts_once_also_after_a_restart(self, place: Place, weather: Weather) -> None:
        trip = TripId.new()
        async with club_house(place, weather, Diary) as house:
            await house.desk.book(trip, "flight")
            await house.noted(trip, "booked flight")
            await house.was_told("club.diary")

        async with club_house(place, weather, Diary) as house:
            await house.desk.book(trip, "hotel")
            await house.noted(trip, "booked flight", "booked hotel")
            assert weather.calls == ["booked flight", "booked hotel"]

    async def test_it_reacts_once_when_two_processes_run(self, place: Place) -> None:
        trips = [TripId.new() for _ in range(5)]
        async with (
            club_house(place, Weather(), Diary) as one,
            club_house(place, Weather(), Diary) as two,
        ):
            for trip in trips:
                await one.desk.book(trip, "flight")
                await two.desk.book(trip, "hotel")

            for trip in trips:
                await one.noted(trip, "booked flight", "booked hotel")
            await one.was_told("club.diary")
            assert len(one.weather.calls) + len(two.weather.calls) == 10

    async def test_a_page_that_is_read_again_has_no_second_effect(self, place: Place, weather: Weather) -> None:
        async with club_house(place, weather) as house:
            trip, module = TripId.new(), house.app.running["desk"]
            await house.desk.book(trip, "flight")
            await house.desk.cancel(trip, "flight")
            react = partial(Diary().react, club=house.club)
            reactor = PolicyHandler("club.diary", [Booked, Cancelled], react, Diary, module.module.events, Diary().key)
            read = await module.store.read_feed(0, 100)
            page = EventPage(read.events, read.position, module.module.events)

            for _ in range(3):
                assert (await reactor.handle(page, page.events)).failed == []

            assert await house.club.notes(trip) == ("booked flight", "cancelled flight")

    async def test_it_reacts_to_events_of_two_modules(self, place: Place, weather: Weather) -> None:
        async with club_house(place, weather, Greeting) as house:
            trip, other = TripId.new(), TripId.new()

            await house.club.join(trip)
            await house.desk.book(other, "flight")

            await house.noted(trip, "welcome, joined", "good day")
            await house.noted(other, "welcome, booked", "good day")

    async def test_it_passes_over_events_of_other_kinds(self, place: Place, weather: Weather) -> None:
        async with club_house(place, weather, Greeting) as house:
            trip = TripId.new()
            await house.desk.cancel(trip, "flight")

            await house.desk.book(trip, "flight")

            await house.noted(trip, "welcome, booked", "good day")


class TestContext:
    async def test_what_it_commands_says_on_whose_behalf_and_in_which_conversation(self, house: ClubHouse) -> None:
        trip = TripId.new()
        operation = operation_of(Desk.book)
        await house.app.call(operation, operation.bind((trip, "flight"), {}), ADA)
        await house.noted(trip, "booked flight")

        metadata = (await self._events(house, "club", f"member-{trip}"))[0].metadata

        assert (metadata.tenant, metadata.correlation) == (ADA.tenant, ADA.correlation)
        assert metadata.actor == "policy:club.diary"

    async def test_a_conversation_is_named_after_what_began_it(self, house: ClubHouse) -> None:
        trip = TripId.new()
        operation, context = operation_of(Desk.book), Context(actor="ada")
        await house.app.call(operation, operation.bind((trip, "flight"), {}), context)
        await house.noted(trip, "booked flight")

        metadata = (await self._events(house, "club", f"member-{trip}"))[0].metadata

        assert metadata.correlation == context.id

    async def test_each_of_its_commands_has_a_key_made_of_the_event(self, place: Place, weather: Weather) -> None:
        async with club_house(place, weather, Greeting) as house:
            trip = TripId.new()
            await house.desk.book(trip, "flight")
            await house.noted(trip, "welcome, booked", "good day")

            (booked,) = await self._events(house, "desk", f"booking-flight/{trip}")
            noted = await self._events(house, "club", f"member-{trip}")

            assert [event.metadata.key for event in noted] == [
                f"§club.greeting/{booked.id}/Club.note#1",
                f"§club.greeting/{booked.id}/Club.note#2",
            ]

    @staticmethod
    async def _events(house: ClubHouse, module: str, stream: str) -> list[Recorded[Any]]:
        running = house.app.running[module]
        return [running.module.events.recorded(event) for event in await running.store.read_stream(stream, limit=99)]


class TestFailing:
    async def test_what_may_work_later_is_tried_again(self, house: ClubHouse, weather: Weather) -> None:
        trip = TripId.new()
        weather.plan("booked flight", ValueError("a bug"), ValueError("a bug"))

        await house.desk.book(trip, "flight")

        await house.noted(trip, "booked flight")

    async def test_a_policy_waits_for_what_can_not_be_reached(self, house: ClubHouse, weather: Weather) -> None:
        trip = TripId.new()
        weather.plan("booked flight", *[unavailable()] * (QUICK.attempts + 1))

        await house.desk.book(trip, "flight")

        await house.noted(trip, "booked flight")

    async def test_events_of_one_key_wait_for_the_one_that_is_tried_again(
        self, house: ClubHouse, weather: Weather
    ) -> None:
        trip = TripId.new()
        weather.plan("booked flight", unavailable(), unavailable())

        await house.desk.book(trip, "flight")
        await house.desk.book(trip, "hotel")
        await house.desk.cancel(trip, "flight")

        await house.noted(trip, "booked flight", "booked hotel", "cancelled flight")

    async def test_what_keeps_failing_is_parked_with_those_behind_it(self, house: ClubHouse, weather: Weather) -> None:
        trip = TripId.new()
        weather.plan("booked flight", *[ValueError("a bug")] * QUICK.attempts)
        await house.desk.book(trip, "flight")
        await house.parked(1)

        await house.desk.book(trip, "hotel")

        first, second = await house.parked(2)
        assert re.fullmatch(r"ValueError: a bug \(\S+travel\.py:\d+ in meet\)", first.error)  # the author's own code
        assert second.error == ""
        assert first.key == second.key == trip
        assert weather.calls == ["booked flight"] * QUICK.attempts

    async def test_events_of_other_keys_flow(self, house: ClubHouse, weather: Weather) -> None:
        trip, other = TripId.new(), TripId.new()
        weather.plan("booked flight", *[ValueError("a bug")] * QUICK.attempts)
        await house.desk.book(trip, "flight")
        await house.parked(1)

        await house.desk.book(other, "flight")

        await house.noted(other, "booked flight")

    async def test_a_slow_reaction_does_not_hold_up_another_key(self, house: ClubHouse, weather: Weather) -> None:
        trip, other = TripId.new(), TripId.new()
        weather.plan("booked flight", lambda: weather.called("booked hotel"))

        await asyncio.gather(house.desk.book(trip, "flight"), house.desk.book(other, "hotel"))

        await house.noted(other, "booked hotel")
        await house.noted(trip, "booked flight")

    async def test_a_refusal_parks_at_once(self, house: ClubHouse, weather: Weather) -> None:
        weather.plan("booked flight", SoldOut())

        await house.desk.book(TripId.new(), "flight")

        (entry,) = await house.parked(1)
        assert entry.error == "SoldOut: There is none left."
        assert weather.calls == ["booked flight"]


class TestOperators:
    @pytest.fixture
    async def parked(self, house: ClubHouse, weather: Weather) -> TripId:
        """Three events of a trip, the first of which keeps failing."""
        trip = TripId.new()
        weather.plan("booked flight", *[ValueError("a bug")] * QUICK.attempts)
        await house.desk.book(trip, "flight")
        await house.desk.book(trip, "hotel")
        await house.desk.book(trip, "guide")
        await house.parked(3)
        return trip

    async def test_a_retry_that_works_goes_on_in_order(self, house: ClubHouse, parked: TripId) -> None:
        await house.ask("retry")

        await house.noted(parked, "booked flight", "booked hotel", "booked guide")
        await house.parked(0)

    async def test_a_retry_that_fails_leaves_all_parked(
        self, house: ClubHouse, parked: TripId, weather: Weather
    ) -> None:
        weather.plan("booked flight", *[ValueError("a bug")] * QUICK.attempts)

        await house.ask("retry")

        await weather.called("booked flight", 2 * QUICK.attempts)
        while (await house.parked(3))[0].attempts < 2:
            await asyncio.sleep(0.005)
        assert await house.club.notes(parked) == ()

    async def test_what_was_refused_may_be_granted_when_it_is_tried_again(
        self, house: ClubHouse, weather: Weather
    ) -> None:
        trip = TripId.new()
        weather.plan("booked flight", SoldOut())
        await house.desk.book(trip, "flight")
        await house.parked(1)

        await house.ask("retry")

        await house.noted(trip, "booked flight")

    async def test_a_dropped_event_lets_those_behind_it_through(self, house: ClubHouse, parked: TripId) -> None:
        await house.ask("drop")

        await house.noted(parked, "booked hotel", "booked guide")
        await house.parked(0)

    async def test_afterwards_its_key_flows_again(self, house: ClubHouse, parked: TripId) -> None:
        await house.ask("retry")
        await house.parked(0)

        await house.desk.cancel(parked, "flight")

        await house.noted(parked, "booked flight", "booked hotel", "booked guide", "cancelled flight")


class Journal(Diary):
    """The diary by a new name."""


class TestAnotherName:
    """A policy is known by its name: by another one it would react to all that ever happened once more."""

    @pytest.fixture
    async def trip(self, place: Place, weather: Weather) -> TripId:
        """One of which the diary has noted something."""
        trip = TripId.new()
        async with club_house(place, weather, Diary) as house:
            await house.desk.book(trip, "flight")
            await house.noted(trip, "booked flight")
            await house.was_told("club.diary")
        return trip

    async def test_a_name_that_is_gone_while_another_is_new_is_refused_at_the_start(
        self, place: Place, weather: Weather, trip: TripId
    ) -> None:
        for _ in range(2):
            with pytest.raises(WiringError) as refused:
                async with club_house(place, weather, Journal):
                    raise AssertionError("it must not start")

        assert str(refused.value) == (
            "app travel: 'club.journal' is new among the policies and 'club.diary' is gone. If that is the same policy "
            "renamed or moved, keep its name in the class (name = 'club.diary'), or it reacts to all that ever "
            "happened once more. If it isn't, say Module(retired=['club.diary'])."
        )
        assert weather.calls == ["booked flight"]

    async def test_a_renamed_policy_that_keeps_its_name_goes_on_where_it_was(
        self, place: Place, weather: Weather, trip: TripId
    ) -> None:
        class Renamed(Diary):
            name = "diary"

        async with club_house(place, weather, Renamed) as house:
            await house.desk.book(trip, "hotel")
            await house.noted(trip, "booked flight", "booked hotel")

        assert weather.calls == ["booked flight", "booked hotel"]

    async def test_a_new_one_may_come_when_what_is_gone_is_retired(
        self, place: Place, weather: Weather, trip: TripId
    ) -> None:
        async with club_house(place, weather, Journal, retired=["diary"]) as house:
            await house.noted(trip, "booked flight", "booked flight")

    async def test_one_that_was_gone_goes_on_where_it_was_when_it_is_back(
        self, place: Place, weather: Weather, trip: TripId
    ) -> None:
        async with club_house(place, weather) as house:
            await house.desk.book(trip, "hotel")

        async with club_house(place, weather, Diary) as house:
            await house.noted(trip, "booked flight", "booked hotel")
        assert weather.calls == ["booked flight", "booked hotel"]

    async def test_one_that_was_moved_to_another_module_is_refused_unless_it_keeps_its_name(
        self, place: Place, weather: Weather, trip: TripId
    ) -> None:
        class Kept(Diary):
            name = "club.diary"

        def app(*policies: type[Policy]) -> Line:
            club = Module("club", api=Club, service=ClubService, provides={Weather: weather})
            return Line("travel", modules=[desk(Weather(), policies=policies), club], copied_calls=True)

        with pytest.raises(WiringError, match=r"'desk\.diary' is new among the policies and 'club\.diary' is gone"):
            async with app(Diary).run(place):
                raise AssertionError("it must not start")
        async with app(Kept).run(place) as running:
            house = ClubHouse(running, weather)
            await house.desk.book(trip, "hotel")
            await house.noted(trip, "booked flight", "booked hotel")

    async def test_one_that_was_moved_to_another_module_goes_on_where_it_was(self, place: Place) -> None:
        told: list[str] = []

        class Crier(Policy):
            name = "club.crier"

            async def react(self, event: Recorded[Booked]) -> None:
                told.append(event.data.what)

        for home, what in (("club", "flight"), ("desk", "hotel"), ("club", "car")):
            policies: dict[str, list[type[Policy]]] = {"club": [], "desk": [], home: [Crier]}
            club = Module(
                "club", api=Club, service=ClubService, policies=policies["club"], provides={Weather: Weather()}
            )
            app = Line("travel", modules=[desk(Weather(), policies=policies["desk"]), club], copied_calls=True)
            async with app.run(place):
                await app.api(Desk).book(TripId.new(), what)
                head = await app.running["desk"].store.head()
                while await app.running[home].store.checkpoint("club.crier@desk") < head:
                    await asyncio.sleep(0.005)

        assert told == ["flight", "hotel", "car"]

    async def test_two_processes_that_note_their_policies_at_once_forget_none(self, place: Place) -> None:
        stores = [place("club") for _ in range(2)]
        for store in stores:
            await store.open()
        try:
            modules = [
                Module("club", api=Club, service=ClubService, policies=policies, provides={Weather: Weather()})
                for policies in ([Diary], [Diary, Greeting])
            ]
            processes = zip(modules, stores, strict=True)
            await asyncio.gather(*(register_policies("travel", [process]) for process in processes))

            document = await stores[0].document("policies")
            assert document is not None
            assert decode(list[str], document.body) == ["club.diary", "club.greeting"]
        finally:
            for store in stores:
                await store.close()


class TestDefinitions:
    def test_a_policy_must_say_to_which_events_it_reacts(self) -> None:
        class Vague(Policy):
            async def react(self, event: Recorded[Any]) -> None: ...

        with pytest.raises(WiringError, match=r"^module club: Vague\.react must take event: Recorded\[…\]$"):
            PolicyDefinition("club", Vague)

    def test_an_event_that_no_module_records_is_refused(self) -> None:
        class Deaf(Policy):
            async def react(self, event: Recorded[Booked]) -> None: ...

        club = Module("club", api=Club, service=ClubService, policies=[Deaf], provides={Weather: Weather()})

        with pytest.raises(WiringError, match=r"^app travel: Deaf reacts to Booked, which no module records$"):
            App("travel", modules=[club])

    def test_two_policies_of_a_module_have_different_names(self) -> None:
        with pytest.raises(WiringError, match="two policies or two sagas have the same name"):
            Module("club", api=Club, service=ClubService, policies=[Diary, Diary])


async def test_the_agency_sends_a_souvenir_for_each_trip_that_is_confirmed(office: Office) -> None:
    trip = await office.agency.plan("Ada")

    while await office.booked(trip, "souvenir") != {"souvenir": 1}:
        await asyncio.sleep(0.005)


class TestALease:
    async def test_is_made_longer_for_a_process_that_was_kept_from_renewing_it_and_shorter_again(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[float] = []

        async def acquire(lease: str, owner: str, seconds: float) -> int | None:
            asked.append(seconds)
            return 1

        now = 0.0
        monkeypatch.setattr(store, "acquire", acquire)
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
        lease = Lease(store, "policy", "one")
        for now in (0.0, 1.0, 11.0, 12.0, 13.0):  # noqa: B007
            await lease.hold()

        assert asked[:2] == [LEASE_SECONDS] * 2
        assert asked[2] == 20.0
        assert asked[4] < asked[3] < asked[2]

    async def test_that_may_have_run_out_is_asked_for_before_it_is_relied_on(
        self, store: Store, second_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lease = Lease(store, "policy", "one")
        number = await lease.hold()
        assert number is not None
        await store.release("policy", "one")
        assert await second_store.acquire("policy", "two", LEASE_SECONDS) is not None
        assert await lease.is_held(number)

        late = asyncio.get_running_loop().time() + LEASE_SECONDS
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: late)

        assert not await lease.is_held(number)


async def test_a_policy_stops_where_another_process_has_taken_over(place: Place, weather: Weather) -> None:
    async with club_house(place, weather) as house:
        module, reacted = house.app.running["desk"], list[str]()
        for what in ("flight", "hotel", "guide"):
            await house.desk.book(TripId.new(), what)

        async def react(event: Recorded[Booked]) -> None:
            reacted.append(event.data.what)

        async def is_owned() -> bool:
            return not reacted

        reactor = PolicyHandler("club.diary", [Booked], react, Diary, module.module.events, lambda _: "one key")
        reactor.is_owned = is_owned
        read = await module.store.read_feed(0, 100)

        with pytest.raises(FenceLost):
            await reactor.handle(EventPage(read.events, read.position, module.module.events), read.events)

        assert reacted == ["flight"]
