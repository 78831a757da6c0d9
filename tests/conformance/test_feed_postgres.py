"""The proof that no event is skipped on Postgres, with a second real client that holds transactions open."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from craton.adapters.postgres.store import PostgresStore
from craton.ports import ChangesetRefused, FeedPage, NewEvent, Store, StoredEvent, StoreUnavailable
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
        """Append a unit in the open transaction, its end marked; return the positions that were drawn."""
        events: list[NewEvent] = [event(stream, expected + n) for n in range(1, count + 1)]
        row = await self.connection.fetchrow(
            f"SELECT conflicts, positions FROM {self._schema}.append({', '.join(f'${n}' for n in range(1, 23))})",
            [stream],
            [expected],
            *([getattr(event, field) for event in events] for field in FIELDS),
            *([] for _ in range(10)),
            [event is events[-1] for event in events],
            [],
        )
        if row["conflicts"]:
            raise LookupError(row["conflicts"])
        positions: list[int] = row["positions"]
        return positions


NewClient = Callable[[], Awaitable[Client]]


@pytest.fixture
async def new_client(place: PostgresPlace, store: Store) -> AsyncIterator[NewClient]:
    """Connects clients; what they hold at the end of the test is rolled back."""
    clients: list[Client] = []

    async def connect() -> Client:
        clients.append(Client(await asyncpg.connect(place.url), place.schema()))
        return clients[-1]

    yield connect
    for client in clients:
        client.connection.terminate()


@pytest.fixture
async def client(new_client: NewClient) -> Client:
    return await new_client()


async def _is_waiting(store: Store, reading: asyncio.Task[Any]) -> bool:
    """Watch until the reader has ended, or has asked for the holders of the lock for the third time."""
    assert isinstance(store, PostgresStore)
    asked: set[object] = set()
    async with store._database.connection() as connection:
        began = await connection.fetchval("SELECT clock_timestamp()")
    while not reading.done() and len(asked) < 3:
        async with store._database.connection() as connection:
            last = "SELECT query_start FROM pg_stat_activity WHERE query = $1 AND query_start > $2"
            rows = await connection.fetch(last, store._feed._holders, began)
            asked.update(row["query_start"] for row in rows)
    return not reading.done()


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

    async def test_two_gaps_are_settled_together(self, store: Store, client: Client, new_client: NewClient) -> None:
        other = await new_client()
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


class TestDrawing:
    async def test_one_draws_at_a_time_so_that_the_positions_of_a_unit_follow_on_each_other(
        self, place: PostgresPlace, client: Client, new_client: NewClient
    ) -> None:
        await client.connection.execute(
            f"BEGIN; ALTER SEQUENCE {place.schema()}.events_position_seq INCREMENT 1"  # nobody can draw now
        )
        writers = [await new_client() for _ in range(6)]
        drawing = [asyncio.create_task(writer.append(f"s{n}", 0, 2_000)) for n, writer in enumerate(writers)]
        pids = [writer.connection.get_server_pid() for writer in writers]
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = ANY($1)"
        while await client.connection.fetchval(waiting, pids) < len(writers):
            pass
        at_the_sequence = await client.connection.fetchval(
            "SELECT count(*) FROM pg_locks WHERE NOT granted"
            f" AND relation = '{place.schema()}.events_position_seq'::regclass"
        )
        await client.connection.execute("ROLLBACK")

        assert at_the_sequence == 1
        for positions in await asyncio.gather(*drawing):
            assert positions == list(range(positions[0], positions[0] + 2_000))

    async def test_an_append_that_was_cancelled_while_it_drew_does_not_block_others(
        self, place: PostgresPlace, store: Store, client: Client, new_client: NewClient
    ) -> None:
        await client.connection.execute(f"BEGIN; ALTER SEQUENCE {place.schema()}.events_position_seq INCREMENT 1")
        writer = await new_client()
        await writer.connection.execute("BEGIN; SET LOCAL statement_timeout = 50")
        with pytest.raises(asyncpg.QueryCanceledError):
            await writer.append("cancelled", 0)

        await client.connection.execute("ROLLBACK")

        await write(store, appending("a"))


class TestAnOldLog:
    """Ten thousand events, and a number that died after every tenth of them."""

    EVENTS = 10_000
    PAGE = 1_000

    @pytest.fixture(autouse=True)
    async def old_log(self, place: PostgresPlace, store: Store, client: Client) -> None:
        await client.connection.execute(
            f"INSERT INTO {place.schema()}.events"
            " (position, stream, version, id, type, schema_version, data, metadata, time) OVERRIDING SYSTEM VALUE"
            " SELECT n + n / 10, 'old', n, 'id-' || n, 'Happened', 1, '{}', '{}', now()"
            f" FROM generate_series(1, {self.EVENTS}) AS n;"
            f" SELECT setval('{place.schema()}.events_position_seq', {self.EVENTS + self.EVENTS // 10})"
        )

    async def _pages(self, store: Store) -> list[int]:
        """Read the whole feed; return how many events each page held."""
        sizes, position = [], 0
        while (page := await store.read_feed(position, self.PAGE)).position > position:
            sizes.append(len(page.events))
            position = page.position
        return sizes

    async def test_is_read_in_full_pages_once_a_reader_has_stood_at_a_gap(self, store: Store) -> None:
        sizes = await self._pages(store)

        assert sum(sizes) == self.EVENTS
        assert len(sizes) <= self.EVENTS // self.PAGE + 1
        assert await self._pages(store) == [self.PAGE] * (self.EVENTS // self.PAGE)

    async def test_costs_a_new_reader_one_wait_for_the_present_writers(
        self, second_store: Store, client: Client, new_client: NewClient
    ) -> None:
        await client.connection.execute("BEGIN")
        await client.append("held", 0)
        reading = asyncio.create_task(self._pages(second_store))
        waits = await _is_waiting(second_store, reading)
        later = await new_client()
        await later.connection.execute("BEGIN")
        await later.append("later", 0)

        await client.connection.execute("COMMIT")

        assert waits
        assert sum(await reading) == self.EVENTS + 1

    async def test_does_not_wait_for_the_present_writers_once_it_was_read(self, store: Store, client: Client) -> None:
        await self._pages(store)
        await client.connection.execute("BEGIN")
        await client.append("held", 0)

        assert sum(await self._pages(store)) == self.EVENTS

    async def test_is_not_taken_as_settled_after_a_new_connection(
        self, place: PostgresPlace, store: Store, client: Client
    ) -> None:
        await self._pages(store)
        await client.connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'craton'"
            f" AND query LIKE '%{place.schema()}%'"
        )
        await client.connection.execute("BEGIN")
        await client.append("held", 0)
        while not await _answers(store):
            pass

        reading = asyncio.create_task(self._pages(store))

        assert await _is_waiting(store, reading)
        await client.connection.execute("ROLLBACK")
        assert sum(await reading) == self.EVENTS


class TestChaos:
    """Writers of every kind, several readers with connections of their own, and nothing that goes by the book."""

    WRITERS = 10
    ROUNDS = 10

    async def _write_rounds(self, store: Store, new_client: NewClient, seed: int) -> None:
        """Commit, roll back, be refused, hold numbers for long, die with them held."""
        chance = random.Random(seed)
        streams: defaultdict[str, int] = defaultdict(int)
        for _ in range(self.ROUNDS):
            stream, count = f"{seed}-{chance.randrange(3)}", chance.randint(1, 4)
            kind = chance.choice(["store", "store", "refused", "commit", "rollback", "die"])
            if kind in ("store", "refused"):
                expected = streams[stream] + 5 * (kind == "refused")
                batch = [appending(stream, expected, count), appending(f"{seed}-own", streams[f"{seed}-own"], 2)]
                outcomes = await store.write(batch)
                streams[stream] += count * isinstance(outcomes[0], int)
                streams[f"{seed}-own"] += 2
                continue
            client = await new_client()
            await client.connection.execute("BEGIN")
            await client.append(stream, streams[stream], count)
            for _ in range(chance.choice([0, 1, 20])):  # for so many round trips of its own it stands still
                await store.head()
            if kind == "die":
                client.connection.terminate()
                continue
            await client.connection.execute(kind)
            streams[stream] += count * (kind == "commit")
            client.connection.terminate()

    async def _follow(self, store: Store, limit: int, ended: asyncio.Event) -> list[FeedPage]:
        pages, position = [], 0
        while True:
            was_ended = ended.is_set()
            page = await store.read_feed(position, limit)
            if page.position > position:
                pages.append(page)
                position = page.position
            elif was_ended:
                return pages

    async def test_every_reader_sees_each_committed_unit_once_whole_and_in_order(
        self,
        place: PostgresPlace,
        store: Store,
        second_store: Store,
        open_stores: Any,
        client: Client,
        new_client: NewClient,
    ) -> None:
        ended = asyncio.Event()
        readers = [store, second_store, await open_stores(place()), await open_stores(place())]
        following = asyncio.gather(*(self._follow(readers[n], (1, 3, 10, 500)[n], ended) for n in range(4)))

        await asyncio.gather(*(self._write_rounds(readers[n % 2], new_client, n) for n in range(self.WRITERS)))
        ended.set()

        log = await client.connection.fetch(f"SELECT position, last FROM {place.schema()}.events ORDER BY position")
        for pages in await following:
            assert [(event.position, event.last) for page in pages for event in page.events] == list(map(tuple, log))
            assert all(page.events[-1].last for page in pages)


async def _answers(store: Store) -> bool:
    """Whether the store has a connection again."""
    try:
        await store.ping()
    except StoreUnavailable:
        return False
    return True


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
                if not isinstance(await attempt(store, appending(stream, at, chance.randint(1, 3))), ChangesetRefused):
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
