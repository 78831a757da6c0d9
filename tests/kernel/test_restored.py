"""Stores that were restored from backups of different times."""

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Protocol

import asyncpg
import pytest

from craton.application import Api, MisuseError, Module, WiringError
from tests.conftest import Place, PostgresPlace, SqlitePlace
from tests.kernel.club import Club, ClubService, Diary, club_house
from tests.kernel.office import Line
from tests.kernel.travel import Desk, TripId, Weather, desk


class Backups(Protocol):
    """Backups of single modules' stores. Nobody has one open that is restored."""

    async def make(self, module: str) -> None: ...

    async def restore(self, module: str) -> None: ...

    async def lose(self, module: str) -> None:
        """Remove the store as if it had never been there."""


class FileBackups:
    def __init__(self, place: SqlitePlace) -> None:
        self._place = place

    async def make(self, module: str) -> None:
        with (
            closing(sqlite3.connect(self._place.folder / f"{module}.db")) as live,
            closing(sqlite3.connect(self._place.folder / f"{module}.backup")) as backup,
        ):
            live.backup(backup)

    async def restore(self, module: str) -> None:
        shutil.copy(self._place.folder / f"{module}.backup", self._place.folder / f"{module}.db")

    async def lose(self, module: str) -> None:
        (self._place.folder / f"{module}.db").unlink()


class SchemaBackups:
    def __init__(self, place: PostgresPlace) -> None:
        self._place = place

    async def make(self, module: str) -> None:
        schema = self._place.schema(module)
        async with self._connection() as connection:
            await connection.execute(f"CREATE SCHEMA {schema}_backup")
            for table in await self._tables(connection, module):
                await connection.execute(f"CREATE TABLE {schema}_backup.{table} AS TABLE {schema}.{table}")

    async def restore(self, module: str) -> None:
        schema = self._place.schema(module)
        async with self._connection() as connection:
            for table in await self._tables(connection, module):
                await connection.execute(f"DELETE FROM {schema}.{table}")
                await connection.execute(
                    f"INSERT INTO {schema}.{table} OVERRIDING SYSTEM VALUE SELECT * FROM {schema}_backup.{table}"
                )

    async def lose(self, module: str) -> None:
        async with self._connection() as connection:
            await connection.execute(f"DROP SCHEMA {self._place.schema(module)} CASCADE")

    async def _tables(self, connection: asyncpg.Connection, module: str) -> list[str]:
        found = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = $1", self._place.schema(module)
        )
        return [row["tablename"] for row in found]

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self._place.url)
        try:
            yield connection
        finally:
            await connection.close()


@pytest.fixture
def backups(place: Place) -> Backups:
    return FileBackups(place) if isinstance(place, SqlitePlace) else SchemaBackups(place)  # type: ignore[arg-type]


@asynccontextmanager
async def resting(place: Place) -> AsyncIterator[Line]:
    """The app as an operator's command opens it: nothing goes on in the background."""
    club = Module("club", api=Club, service=ClubService, policies=[Diary], provides={Weather: Weather()})
    app = Line("travel", modules=[desk(Weather()), club], copied_calls=True)
    async with app.run(place, subscriptions=False):
        yield app


async def refusal(place: Place, weather: Weather) -> str:
    with pytest.raises(WiringError) as refused:
        async with club_house(place, weather, Diary):
            raise AssertionError("it must not start")
    return str(refused.value)


async def book(place: Place, weather: Weather, trip: TripId, *everything: str) -> None:
    """Run the app, book the last of everything, and wait until the club has noted all of it."""
    async with club_house(place, weather, Diary) as house:
        await house.desk.book(trip, everything[-1])
        await house.noted(trip, *(f"booked {what}" for what in everything))
        await house.was_told("club.diary")


@pytest.fixture
async def trip(place: Place, backups: Backups, weather: Weather) -> TripId:
    """A trip of which a flight was booked before the backups of both stores were made, and a hotel after that."""
    trip = TripId.new()
    await book(place, weather, trip, "flight")
    for module in ("desk", "club"):
        await backups.make(module)
    await book(place, weather, trip, "flight", "hotel")
    return trip


class TestAReadersStore:
    """What the policy has done is lost, and the log of its source takes it for told."""

    @pytest.fixture(autouse=True)
    async def restored(self, backups: Backups, trip: TripId) -> None:
        await backups.restore("club")

    async def test_is_refused_at_the_start_with_what_to_do(self, place: Place, weather: Weather) -> None:
        for _ in range(2):
            told = await refusal(place, weather)

        assert told.startswith("app travel: module club: its store is of 20")
        assert told.endswith(
            "older than what desk has seen of it. It was restored alone: what was done in it since is lost, though "
            "others rely on it. Restore all stores of one moment; or have the policies that work on it go on from that "
            "time with `craton restored club`."
        )

    async def test_is_what_verification_speaks_of(self, place: Place) -> None:
        async with resting(place) as app:
            (problem,) = await app.rounds.problems()

        assert problem.startswith("module club: its store is of 20")

    async def test_is_told_again_what_it_has_lost_and_nothing_else(
        self, place: Place, weather: Weather, trip: TripId
    ) -> None:
        async with resting(place) as app:
            told = await app.rounds.accept("club", "an operator")

        assert told == ["club.diary@desk goes on behind position 1."]
        async with club_house(place, weather, Diary) as house:
            await house.noted(trip, "booked flight", "booked hotel")
        assert weather.calls == ["booked flight", "booked hotel", "booked hotel"]

    async def test_is_accepted_once(self, place: Place, weather: Weather, trip: TripId) -> None:
        async with resting(place) as app:
            await app.rounds.accept("club", "an operator")

            with pytest.raises(MisuseError, match="the store of club isn't older than those of the other modules"):
                await app.rounds.accept("club", "an operator")
        await book(place, weather, trip, "flight", "hotel", "guide")

    async def test_is_not_accepted_while_a_process_runs_the_policy(self, place: Place) -> None:
        async with resting(place) as app:
            await app.running["club"].store.acquire("club.diary@desk", "another", 30.0)

            with pytest.raises(MisuseError, match=r"a process runs club\.diary@desk; stop it first"):
                await app.rounds.accept("club", "an operator")

    async def test_fits_when_the_others_are_restored_to_the_same_moment(
        self, place: Place, backups: Backups, weather: Weather, trip: TripId
    ) -> None:
        await backups.restore("desk")

        async with club_house(place, weather, Diary) as house:
            await house.noted(trip, "booked flight")


async def test_a_sources_store_is_refused_too_because_its_readers_know_more(
    place: Place, backups: Backups, weather: Weather, trip: TripId
) -> None:
    await backups.restore("desk")

    assert "module desk: its store is of 20" in await refusal(place, weather)
    async with resting(place) as app:
        assert await app.rounds.accept("desk", "an operator") == ["club.diary@desk goes on behind position 1."]
    await book(place, weather, trip, "flight", "hotel", "guide")


async def test_a_store_that_is_lost_is_told_everything_again(
    place: Place, backups: Backups, weather: Weather, trip: TripId
) -> None:
    await backups.lose("club")

    assert "module club: its store is new, older than what desk has seen of it" in await refusal(place, weather)
    async with resting(place) as app:
        assert await app.rounds.accept("club", "an operator") == ["club.diary@desk goes on behind position 0."]
    async with club_house(place, weather, Diary) as house:
        await house.noted(trip, "booked flight", "booked hotel")


async def test_a_module_that_is_added_is_no_lost_one(place: Place, weather: Weather, trip: TripId) -> None:
    class Bar(Api):
        """It has nothing yet."""

    class BarService(Bar):
        """Nor does it do anything."""

    for _ in range(2):
        club = Module("club", api=Club, service=ClubService, policies=[Diary], provides={Weather: weather})
        app = Line("travel", modules=[desk(weather), club, Module("bar", api=Bar, service=BarService)])
        async with app.run(place):
            await app.api(Desk).book(trip, "hotel")


async def test_a_backup_that_was_made_while_the_app_ran_is_told_what_came_after_it(
    place: Place, backups: Backups, weather: Weather
) -> None:
    trip = TripId.new()
    async with club_house(place, weather, Diary) as house:
        await house.desk.book(trip, "flight")
        await house.noted(trip, "booked flight")
        await house.was_told("club.diary")
        await house.app.rounds.end()
        await backups.make("club")
        await house.desk.book(trip, "hotel")
        await house.noted(trip, "booked flight", "booked hotel")
        await house.was_told("club.diary")
    await backups.restore("club")

    assert "module club: its store is of 20" in await refusal(place, weather)
    async with resting(place) as app:
        store = app.running["club"].store
        for lease in await store.leases():  # the backup holds those of that moment, which run out by themselves
            await store.release(lease.name, lease.owner)
        assert await app.rounds.accept("club", "an operator") == ["club.diary@desk goes on behind position 1."]
    async with club_house(place, weather, Diary) as house:
        await house.noted(trip, "booked flight", "booked hotel")


async def test_processes_that_note_at_once_agree(place: Place, weather: Weather, trip: TripId) -> None:
    async with resting(place) as app, resting(place) as other:
        for _ in range(3):
            await app.rounds.end()
            await other.rounds.end()

        assert await app.rounds.problems() == []
