"""Rows that processes share through Redis: they spare the store work, and whatever happens, no answer is old."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
import redis

from craton.adapters.redis import RedisCache
from craton.adapters.sqlite import SqliteStore
from craton.adapters.stores import shared_cache
from craton.application import Api, Context, Key, Module, Projection, Repository, Row, View, WiringError, command, query
from craton.application.api import operation_of
from craton.domain import Aggregate, Event, Id, Recorded
from craton.ports import Store
from craton.runtime import App
from craton.testing import until
from craton.testing.faults import Line
from tests.market.shop import PASSWORD, Shop

pytestmark = pytest.mark.usefixtures("redis_url")

ANN: Final = "01939000-0000-7000-8000-000000000001"


class MemberId(Id):
    pass


class Renamed(Event):
    name: str


class Member(Aggregate[MemberId]):
    name: str = ""

    def apply(self, event: Renamed) -> None:
        self.name = event.name


class Card(Row):
    member: Key[MemberId]
    name: str


class Cards(Projection):
    inline = True
    cached = True

    def row(self, member: Member, event: Recorded[Event]) -> Card:
        return Card(member=member.id, name=member.name)


class Members(Api):
    @command
    async def rename(self, member: MemberId, name: str) -> None:
        """Give a member a name."""

    @query
    async def name(self, member: MemberId) -> str:
        """A member's name."""


class MembersService(Members):
    def __init__(self, members: Repository[Member], cards: View[Card]) -> None:
        self._members = members
        self._cards = cards

    async def rename(self, member: MemberId, name: str) -> None:
        (await self._members.find_or_add(member)).record(Renamed(name=name))

    async def name(self, member: MemberId) -> str:
        return (await self._cards.get(member)).name


class Counting:
    """A store that counts how often rows are read from it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def get_rows(self, *arguments: Any) -> Sequence[Any]:
        self.reads += 1
        return await self._store.get_rows(*arguments)


class Process:
    """An app with its own memory, on data and a cache that it shares."""

    def __init__(self, app: App, store: Counting) -> None:
        self.app = app
        self.store = store
        self.api = app.api(Members)

    async def ready(self) -> None:
        """Wait until it has followed the log, so that it asks the shared cache first."""
        cards = self.app.running["members"]._caches["cards"]

        async def is_usable() -> bool:
            return cards._is_usable()

        await until(is_usable)

    async def name(self) -> str:
        return await self.api.name(MemberId(ANN))

    async def rename(self, name: str) -> dict[str, int]:
        """Rename; return the position, as a caller is told it."""
        arguments = {"member": MemberId(ANN), "name": name}
        answer = await self.app.call(operation_of(Members.rename), arguments, Context())
        return {answer.module: answer.position}

    async def name_after(self, positions: dict[str, int]) -> str:
        """The name for a caller that has seen these positions."""
        arguments = {"member": MemberId(ANN)}
        answer = await self.app.call(operation_of(Members.name), arguments, Context(positions=positions))
        return str(answer.result)


class Place:
    """Where processes run: one file, and one cache."""

    def __init__(self, folder: Path, url: str, stack: AsyncExitStack) -> None:
        self.name = f"shared_{uuid4().hex[:12]}"
        self.url = url
        self._folder = folder
        self._stack = stack
        self.redis = redis.Redis.from_url(url, decode_responses=True)
        stack.callback(self.redis.close)

    async def start(self, url: str = "") -> Process:
        cache = RedisCache(url or self.url)
        self._stack.push_async_callback(cache.close)
        store = Counting(SqliteStore(self._folder / "members.db", durable=False))
        app = App(self.name, modules=[Module("members", api=Members, service=MembersService, projections=[Cards])])
        opened: Any = store
        await self._stack.enter_async_context(app.run(lambda _: opened, cache=cache))
        return Process(app, store)

    @property
    def keys(self) -> list[str]:
        return list(self.redis.scan_iter(f"craton:{self.name}:*"))

    async def shared(self, process: Process, name: str) -> None:
        """Have a process read a row until the cache holds it."""

        async def is_there() -> bool:
            assert await process.name() == name
            return any(name in str(self.redis.get(key)) for key in self.keys)

        await until(is_there)


@pytest.fixture
async def place(tmp_path: Path, redis_url: str) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        place = Place(tmp_path, redis_url, stack)
        yield place
        for key in place.keys:
            place.redis.delete(key)


@pytest.fixture
def line(redis_url: str) -> Iterator[Line]:
    with Line(redis_url) as line:
        yield line


async def from_cache(process: Process, name: str) -> None:
    """Wait until a process answers without its store."""

    async def without_store() -> bool:
        before = process.store.reads
        assert await process.name() == name
        return process.store.reads == before

    await until(without_store)


async def test_what_one_process_has_read_spares_another_one_the_store(place: Place) -> None:
    first = await place.start()
    await first.rename("Ann")
    await place.shared(first, "Ann")
    second = await place.start()
    await second.ready()

    assert await second.name() == "Ann"

    assert second.store.reads == 0


async def test_a_change_is_seen_in_every_process_at_once_by_a_caller_that_was_told_of_it(place: Place) -> None:
    first, second = await place.start(), await place.start()
    for number in range(20):
        writer, reader = (first, second) if number % 2 else (second, first)
        told = await writer.rename(f"Ann {number}")

        assert await reader.name_after(told) == f"Ann {number}"
        assert await writer.name() == f"Ann {number}"


async def test_a_row_that_the_cache_has_kept_through_an_outage_is_never_believed(place: Place, line: Line) -> None:
    first, second = await place.start(), await place.start(line.url)
    await first.rename("Ann")
    await place.shared(first, "Ann")
    await from_cache(second, "Ann")
    kept = {key: place.redis.get(key) for key in place.keys}

    line.black_hole()
    told = await second.rename("Annie")

    assert await second.name_after(told) == "Annie"
    for key, text in kept.items():
        place.redis.set(key, str(text))  # as if nobody had filled it since
    third = await place.start()
    await third.ready()
    assert await third.name() == "Annie"
    await from_cache(third, "Annie")


async def test_a_silent_cache_costs_no_answer(place: Place, line: Line) -> None:
    line.black_hole()

    process = await place.start(line.url)
    told = await process.rename("Ann")

    assert await process.name_after(told) == "Ann"
    await from_cache(process, "Ann")  # its own memory


async def test_a_cache_that_is_away_costs_no_answer(place: Place) -> None:
    process = await place.start("redis://127.0.0.1:1/0")
    told = await process.rename("Ann")

    assert await process.name_after(told) == "Ann"
    await from_cache(process, "Ann")


@pytest.mark.parametrize(
    "garbage", ["", "{}", "null", '{"position": 1, "event": "x", "row": "no row"}', "\ud7ff", "[" * 500]
)
async def test_garbage_in_the_cache_is_ignored(place: Place, garbage: str) -> None:
    first = await place.start()
    await first.rename("Ann")
    await place.shared(first, "Ann")
    for key in place.keys:
        place.redis.set(key, garbage)

    second = await place.start()
    await second.ready()

    assert await second.name() == "Ann"
    await from_cache(second, "Ann")


async def test_two_apps_with_one_name_do_not_believe_each_other(place: Place, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    async with AsyncExitStack() as stack:
        other = Place(tmp_path / "elsewhere", place.url, stack)
        other.name = place.name
        ours, theirs = await place.start(), await other.start()
        await ours.rename("Ann")
        await theirs.rename("Zoe")
        await place.shared(ours, "Ann")
        again = await other.start()
        await again.ready()

        assert await again.name() == "Zoe"
        await place.shared(theirs, "Zoe")
        await from_cache(ours, "Ann")


async def test_neither_passwords_nor_their_hashes_get_into_the_cache(tmp_path: Path, redis_url: str) -> None:
    shop = Shop("sqlite", tmp_path)
    cache = RedisCache(redis_url)
    shop.cache = cache
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        async with shop:
            ada = await shop.register("Ada")

            async def is_shared() -> bool:
                await ada.get(f"/v1/users/{ada.id}")
                return any("ada." in str(client.get(key)) for key in client.scan_iter(f"craton:{shop.name}:*"))

            await until(is_shared)
        texts = [str(client.get(key)) for key in client.scan_iter(f"craton:{shop.name}:*")]
        for key in client.scan_iter(f"craton:{shop.name}:*"):
            client.delete(key)
    await cache.close()

    assert texts
    for secret in ("argon2", PASSWORD, ada.tokens["access_token"], ada.tokens["refresh_token"].split(".")[-1]):
        assert not any(secret in text for text in texts)


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:6379", "redis://127.0.0.1:port", "nonsense"])
def test_a_url_that_is_none_of_a_cache_is_refused(url: str) -> None:
    with pytest.raises(WiringError, match="the cache must be a redis://"):
        shared_cache(url)
