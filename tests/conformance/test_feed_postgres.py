"""The proof that no event is skipped on Postgres, with a second real client that holds transactions open."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from craton.ports import FeedPage, NewEvent, Store, StoredEvent, UnitRefused
from craton.testing.conformance.making import appending, attempt, event, versions, whole_feed, write
from tests.conftest import PostgresPlace

FIELDS = ("stream", "version", "id", "type", "schema_version", "data", "metadata", "time")


@pytest.fixture
def place(postgres_place: PostgresPlace) -> PostgresPlace:
    return postgres_place


class Client:
    """A second client that calls the schema's own append function in transactions that the test ends."""

    def __init__(self, connection: Any, schema: str) -> None:
        self.connection = connection
        self._schema = schema

    async def append(self, stream: str, expected: int, count: int = 1) -> list[int]:
        """Append in the open transaction; return the positions that were drawn."""
        events: list[NewEvent] = [event(stream, expected + n) for n in range(1, count + 1)]
        row = await self.connection.fetchrow(
            f"SELECT conflicts, positions FROM {self._schema}.append({', '.join(f'${n}' for n in range(1, 21))})",
            [stream],
            [expected],
            *([getattr(event, field) for event in events] for field in FIELDS),
            *([] for _ in range(10)),
        )
        if row["conflicts"]:
            raise LookupError(row["conflicts"])
        positions: list[int] = row["positions"]
        return positions


@pytest.fixture
async def client(place: PostgresPlace, store: Store) -> AsyncIterator[Client]:
    connection = await asyncpg.connect(place.url)
    yield Client(connection, place.schema())
    await connection.close()


async def _is_waiting(store: Store, reading: asyncio.Task[FeedPage]) -> bool:
    """Give the reader every chance to end: so many round trips that it has asked for holders again and again."""
    for _ in range(100):
        await store.head()
        if reading.done():
            return False
    return True


class TestAGap:
    async def test_a_reader_neither_skips_nor_passes_an_open_transaction_and_sees_what_it_commits(
        self, store: Store, client: Client
    ) -> None:
        await write(store, appending("before"))
        transaction = client.connection.transaction()
        await transaction.start()
        (held,) = await client.append("held", 0)
        later = await write(store, appending("later"))
        assert held < later

        first = await store.read_feed(0, 10)
        reading = asyncio.create_task(store.read_feed(first.position, 10))

        assert [event.stream for event in first.events] == ["before"]
        assert await _is_waiting(store, reading)
        await transaction.commit()
        page = await reading
        assert [(event.stream, event.position) for event in page.events] == [("held", held), ("later", later)]

    async def test_a_reader_steps_over_what_was_rolled_back(self, store: Store, client: Client) -> None:
        transaction = client.connection.transaction()
        await transaction.start()
        await client.append("held", 0, 3)
        later = await write(store, appending("later"))

        reading = asyncio.create_task(store.read_feed(0, 10))

        assert await _is_waiting(store, reading)
        await transaction.rollback()
        page = await reading
        assert [(event.stream, event.position) for event in page.events] == [("later", later)]
        assert page.position == later

    async def test_a_reader_steps_over_what_died_with_its_connection(
        self, place: PostgresPlace, store: Store, client: Client
    ) -> None:
        await client.connection.execute("BEGIN")
        await client.append("held", 0)
        later = await write(store, appending("later"))

        client.connection.terminate()

        assert (await store.read_feed(0, 10)).position == later

    async def test_two_gaps_are_settled_one_by_one(self, place: PostgresPlace, store: Store, client: Client) -> None:
        other = Client(await asyncpg.connect(place.url), place.schema())
        await client.connection.execute("BEGIN")
        await client.append("first", 0)
        await write(store, appending("a"))
        await other.connection.execute("BEGIN")
        await other.append("second", 0)
        await write(store, appending("b"))
        reading = asyncio.create_task(whole_feed(store))

        await client.connection.execute("ROLLBACK")
        await store.head()
        await other.connection.execute("COMMIT")

        assert [event.stream for event in await reading] == ["a", "second", "b"]
        await other.connection.close()

    async def test_an_open_transaction_that_begins_after_the_gap_was_seen_is_not_waited_for(
        self, place: PostgresPlace, store: Store, client: Client
    ) -> None:
        await client.connection.execute("BEGIN")
        await client.append("dead", 0)
        await client.connection.execute("ROLLBACK")
        later = await write(store, appending("later"))
        await client.connection.execute("BEGIN")
        await client.connection.execute("SELECT 1")

        page = await store.read_feed(0, 10)

        assert page.position == later
        await client.connection.execute("ROLLBACK")

    async def test_what_is_open_in_another_module_is_not_waited_for(
        self, place: PostgresPlace, store: Store, open_stores: Any
    ) -> None:
        elsewhere = await open_stores(place("elsewhere"))
        async with elsewhere.transaction("read committed") as transaction:
            await transaction.write(appending("held"))
            with pytest.raises(LookupError):
                async with store.transaction("read committed") as own:
                    await own.write(appending("dead"))
                    raise LookupError
            later = await write(store, appending("later"))

            page = await store.read_feed(0, 10)

        assert page.position == later


class TestABurst:
    APPENDERS = 16
    ROUNDS = 12

    async def _append_rounds(self, place: PostgresPlace, store: Store, seed: int) -> list[str]:
        """Append through the store, or in transactions that end one way or the other; return the committed ids."""
        chance = random.Random(seed)
        connection = await asyncpg.connect(place.url)
        client = Client(connection, place.schema())
        committed: list[str] = []
        for round in range(self.ROUNDS):
            stream = f"shared-{chance.randrange(3)}" if chance.random() < 0.4 else f"own-{seed}"
            at = (await versions(store, stream) or [0])[-1]
            if chance.random() < 0.5:
                if not isinstance(await attempt(store, appending(stream, at, chance.randint(1, 3))), UnitRefused):
                    committed.append(f"{stream} {at + 1}")
                continue
            transaction = connection.transaction()
            await transaction.start()
            try:
                await client.append(stream, at, chance.randint(1, 3))
            except (LookupError, asyncpg.UniqueViolationError):
                await transaction.rollback()
                continue
            if (seed + round) % 3 == 0:
                await transaction.rollback()
            else:
                await transaction.commit()
                committed.append(f"{stream} {at + 1}")
        await connection.close()
        return committed

    async def test_each_committed_event_is_read_once_and_in_order(
        self, place: PostgresPlace, store: Store, second_store: Store
    ) -> None:
        writing = asyncio.gather(*(self._append_rounds(place, store, seed) for seed in range(self.APPENDERS)))
        read: list[StoredEvent] = []
        position = 0

        while not writing.done():
            page = await second_store.read_feed(position, 7)
            assert page.position >= position
            position = page.position
            read += page.events
        read += await whole_feed(second_store, after=position)

        committed = [name for names in await writing for name in names]
        seen: defaultdict[str, int] = defaultdict(int)
        for one in read:
            seen[one.stream] += 1
            assert one.version == seen[one.stream]
        positions = [one.position for one in read]
        assert positions == sorted(set(positions))
        assert {f"{one.stream} {one.version}" for one in read} >= set(committed)
        assert sum([len(await versions(store, stream)) for stream in seen]) == len(read)
