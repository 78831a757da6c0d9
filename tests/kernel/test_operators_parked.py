"""What operators do with parked events: one, those of a key, those of a reader, or all of a module."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from craton.application import Paging
from craton.runtime import App
from craton.runtime.operations.api import Operations, ParkedEntry, Requested
from craton.runtime.operations.refusals import ModuleNotFound, NotHandled, ParkedNotFound
from craton.testing import until
from tests.conftest import Place
from tests.kernel.bank import bank
from tests.kernel.club import DIARY, QUICK, ClubHouse, Diary, club_house
from tests.kernel.conftest import Clock, StartApp
from tests.kernel.jars import InlineLabels, JarId, Jars, Totals, caught_up, jars
from tests.kernel.operators import act, audited, park
from tests.kernel.travel import TripId, Weather

VERBS = (Operations.retry_parked, Operations.drop_parked)


@pytest.fixture
async def house(place: Place, weather: Weather) -> AsyncIterator[ClubHouse]:
    async with club_house(place, weather, Diary) as house:
        yield house


async def bookings_parked(house: ClubHouse, weather: Weather, *names: str) -> TripId:
    """Have the bookings of a trip parked: the first can't be noted."""
    trip, before = TripId.new(), (await house.app.operations.parked()).total
    weather.plan(f"booked {names[0]}", *[ValueError("a bug")] * QUICK.attempts)
    for name in names:
        await house.desk.book(trip, name)
    await house.parked(before + len(names))
    return trip


class TestARetry:
    async def test_of_one_event_takes_those_behind_it_along(self, house: ClubHouse, weather: Weather) -> None:
        trip = await bookings_parked(house, weather, "flight", "hotel")
        (first, _) = await house.parked(2)

        answer = await act(
            house.app, Operations.retry_parked, "club", DIARY, position=first.position, reason="it works"
        )

        assert (answer.result, answer.module) == (Requested(events=1, more=False), "club")
        await house.noted(trip, "booked flight", "booked hotel")
        await house.parked(0)
        (entry,) = await audited(house.app)
        assert (entry.module, entry.verb, entry.reason) == ("club", "retry_parked", "it works")
        assert entry.subject == f"{DIARY} at {first.position}"

    async def test_of_a_key_leaves_the_others_parked(self, house: ClubHouse, weather: Weather) -> None:
        trip = await bookings_parked(house, weather, "flight", "hotel")
        other = await bookings_parked(house, weather, "guide")

        answer = await act(house.app, Operations.retry_parked, "club", DIARY, key=str(trip))

        assert answer.result.events == 1  # the first of the key stands for all of it
        await house.noted(trip, "booked flight", "booked hotel")
        assert [entry.key for entry in await house.parked(1)] == [other]

    async def test_of_a_reader_takes_all_its_keys(self, house: ClubHouse, weather: Weather) -> None:
        trip = await bookings_parked(house, weather, "flight", "hotel")
        other = await bookings_parked(house, weather, "guide")

        answer = await act(house.app, Operations.retry_parked, "club", DIARY)

        assert answer.result.events == 2
        await house.noted(trip, "booked flight", "booked hotel")
        await house.noted(other, "booked guide")

    async def test_of_all_takes_all_readers_of_the_module(self, house: ClubHouse, weather: Weather) -> None:
        trip = await bookings_parked(house, weather, "flight")

        answer = await act(house.app, Operations.retry_parked, "club", reason="all of it")

        assert answer.result.events == 1
        await house.noted(trip, "booked flight")
        (entry,) = await audited(house.app)
        assert entry.reason == "all of it"

    async def test_that_fails_again_leaves_them_parked_and_may_be_asked_for_again(
        self, house: ClubHouse, weather: Weather
    ) -> None:
        trip = await bookings_parked(house, weather, "flight", "hotel")
        weather.plan("booked flight", *[ValueError("a bug")] * QUICK.attempts)

        await act(house.app, Operations.retry_parked, "club", DIARY)

        async def tried() -> bool:
            first, second = (await house.app.operations.parked()).items
            return first.attempts == 2 and not first.request and not second.request

        await until(tried)
        await act(house.app, Operations.retry_parked, "club", DIARY)
        await house.noted(trip, "booked flight", "booked hotel")


class TestADrop:
    async def test_of_one_event_lets_those_behind_it_through(self, house: ClubHouse, weather: Weather) -> None:
        trip = await bookings_parked(house, weather, "flight", "hotel")
        (first, _) = await house.parked(2)

        answer = await act(house.app, Operations.drop_parked, "club", DIARY, position=first.position, reason="a ghost")

        assert answer.result == Requested(events=1, more=False)
        await house.noted(trip, "booked hotel")
        await house.parked(0)
        (entry,) = await audited(house.app)
        assert (entry.verb, entry.subject, entry.reason) == (
            *("drop_parked", f"{DIARY} at {first.position}"),
            "a ghost",
        )

    async def test_of_a_key_gives_all_its_events_up(self, house: ClubHouse, weather: Weather) -> None:
        trip = await bookings_parked(house, weather, "flight", "hotel")
        other = await bookings_parked(house, weather, "guide")

        answer = await act(house.app, Operations.drop_parked, "club", key=str(trip))

        assert answer.result.events == 2
        assert [entry.key for entry in await house.parked(1)] == [other]
        assert await house.club.notes(trip) == ()

    async def test_of_all_is_recorded_once(self, house: ClubHouse, weather: Weather) -> None:
        await bookings_parked(house, weather, "flight", "hotel")
        await bookings_parked(house, weather, "guide")
        first = (await house.parked(3))[0]

        await act(house.app, Operations.drop_parked, "club", reason="a trial run")

        await house.parked(0)
        (entry,) = await audited(house.app)
        assert entry.subject == f"{DIARY} at {first.position} and 2 more"


class TestParkedEvents:
    @pytest.fixture
    async def service(self, start: StartApp, clock: Clock) -> App:
        """Two modules in which five events are parked, for readers that nothing carries on in the background."""
        service = await start(bank(), jars(Totals), clock=clock)
        for module, reader, position, key, error in (
            ("bank", "balances@1", 1, "a", "ValueError: a bug"),
            ("jars", "totals@1", 1, "a", "ValueError: a bug"),
            ("bank", "balances@1", 2, "a", ""),
            ("bank", "balances@1", 3, "b", "ValueError: another"),
            ("bank", "other", 3, "b", "ValueError: another"),
        ):
            await park(service.running[module].store, reader, position, key, error, clock.forward(seconds=1))
        return service

    async def test_are_listed_with_what_is_known_of_them_the_oldest_first(self, service: App, clock: Clock) -> None:
        page = await service.operations.parked()

        assert [(e.module, e.reader, e.position) for e in page.items] == [
            ("bank", "balances@1", 1),
            ("jars", "totals@1", 1),
            ("bank", "balances@1", 2),
            ("bank", "balances@1", 3),
            ("bank", "other", 3),
        ]
        assert page.items[-1] == ParkedEntry(
            module="bank",
            reader="other",
            position=3,
            key="b",
            error="ValueError: another",
            attempts=1,
            since=clock.time,
            request="",
        )

    async def test_are_those_of_a_module_a_reader_or_a_key(self, service: App) -> None:
        async def found(**wanted: Any) -> list[tuple[str, int]]:
            return [(e.reader, e.position) for e in (await service.operations.parked(**wanted)).items]

        assert await found(module="jars") == [("totals@1", 1)]
        assert await found(reader="balances@1") == [("balances@1", 1), ("balances@1", 2), ("balances@1", 3)]
        assert await found(key="a") == [("balances@1", 1), ("totals@1", 1), ("balances@1", 2)]
        assert await found(module="bank", reader="other", key="b") == [("other", 3)]
        assert await found(reader="other", key="a") == await found(reader="nothing") == []
        with pytest.raises(ModuleNotFound):
            await found(module="shop")

    async def test_are_listed_in_pages(self, service: App) -> None:
        pages = [await service.operations.parked(paging=Paging(number, 2)) for number in (1, 2, 3, 4)]

        assert [len(page.items) for page in pages] == [2, 2, 1, 0]
        assert len({(e.module, e.reader, e.position) for page in pages for e in page.items}) == 5
        assert {page.total for page in pages} == {5}

    async def test_are_listed_with_what_was_asked_for(self, service: App) -> None:
        await act(service, Operations.retry_parked, "bank", "balances@1", key="a")
        await act(service, Operations.drop_parked, "bank", "balances@1", key="b")

        asked = {(e.reader, e.position): e.request for e in (await service.operations.parked(module="bank")).items}

        assert asked == {
            ("balances@1", 1): "retry",
            ("balances@1", 2): "",
            ("balances@1", 3): "drop",
            ("other", 3): "",
        }

    async def test_beyond_what_one_call_asks_for_are_left_to_the_next(
        self, service: App, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("craton.runtime.operations.service.MAX_REQUESTS", 2)

        answer = await act(service, Operations.drop_parked, "bank", "balances@1")

        assert answer.result == Requested(events=2, more=True)
        asked = [e.request for e in (await service.operations.parked(reader="balances@1")).items]
        assert asked == ["drop", "drop", ""]

    @pytest.mark.parametrize("verb", VERBS)
    @pytest.mark.parametrize(
        "wanted",
        [
            {"reader": "nothing"},
            {"reader": ""},
            {"key": "c"},
            {"position": 4},
            {"position": 0},
            {"position": -1},
            {"position": 2**70},
            {"reader": "other", "key": "a"},
            {"reader": "other", "position": 1},
        ],
        ids=str,
    )
    async def test_that_match_nothing_are_refused_and_nothing_is_recorded(
        self, service: App, verb: Any, wanted: dict[str, Any]
    ) -> None:
        with pytest.raises(ParkedNotFound, match=r"No parked event matches\."):
            await act(service, verb, "bank", **wanted)

        assert await audited(service) == []

    @pytest.mark.parametrize("verb", VERBS)
    async def test_of_a_module_that_there_is_not_are_refused(self, service: App, verb: Any) -> None:
        with pytest.raises(ModuleNotFound):
            await act(service, verb, "shop")


@pytest.mark.parametrize("verb", VERBS)
class TestAReaderThatNothingHandles:
    async def test_as_another_generation_is_live_is_refused(self, start: StartApp, verb: Any) -> None:
        app = await start(jars(Totals), subscriptions=True)
        await app.api(Jars).put(JarId.new(), 1)
        await act(app, Operations.rebuild_projection, "totals")
        await caught_up(app)
        await park(app.running["jars"].store, "totals@1", 1, "a")

        with pytest.raises(NotHandled, match=r"No process handles totals@1: .* `craton projections rebuild totals`"):
            await act(app, verb, "jars", "totals@1", position=1)

        assert [found.verb for found in await audited(app)] == ["rebuild_projection"]

    async def test_as_it_is_inline_is_refused(self, start: StartApp, verb: Any) -> None:
        app = await start(jars(InlineLabels))
        await park(app.running["jars"].store, "labels@1", 1, "a")

        with pytest.raises(NotHandled):
            await act(app, verb, "jars")

    async def test_as_the_program_has_none_of_its_name_is_refused(self, start: StartApp, verb: Any) -> None:
        app = await start(jars(Totals))
        for reader in ("labels@1", "jars.diary@desk"):
            await park(app.running["jars"].store, reader, 1, "a")

        for reader in ("labels@1", "jars.diary@desk"):
            with pytest.raises(NotHandled, match=f"No process handles {reader}"):
                await act(app, verb, "jars", reader)
