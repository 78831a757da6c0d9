"""What is read through a cache, whatever overtakes what: compared with a model of all that was ever committed.

Any answer of the store may be held up, before or after it is made, for as long as the test likes. Two processes commit;
one of them reads. All rows count how often they were written, so that a row shows which commits it has seen.

With a shared cache, both read, and what memory has lost may be found there: its answers are held up, too.
"""

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from craton.application import Column, Context, Key, Paging, Projection, Row, Rows, View
from craton.application.codec import encode_text
from craton.application.context import entered
from craton.application.projection import ProjectionDefinition
from craton.application.upcasting import EventTypes
from craton.application.view import ViewSource
from craton.domain import Event, Recorded, uuid7
from craton.domain import world as machine
from craton.ports import Append, Changeset, NewEvent, RowFold, Store, StoredRow, StoreUnavailable
from craton.runtime.background import Background
from craton.runtime.committer import Committer, write_alone
from craton.runtime.process.signal import Signal
from craton.runtime.projections.row_cache import MAX_AGE_SECONDS, RowCache
from craton.runtime.projections.shared_rows import SharedRows
from craton.runtime.subscriptions.feed import Feed
from tests.conftest import Place, PostgresPlace, SqlitePlace

KEYS: Final = ("ada", "bob", "slow")
HELD_UP: Final = ("get_rows", "find_rows", "sum_rows", "head", "read_feed", "write")
SHARED: Final = ("get", "put")
PLACES: Final = [
    (name, made) for name in (*HELD_UP, *SHARED, "get_rows", "head", "head") for made in (False, True, True)
]
"""Where an answer may be held up: before it is made or, more often, when it is."""

State = dict[str, int]


class Written(Event):
    keys: tuple[str, ...]


class CountRow(Row):
    name: Key[str]
    count: Column[int]


class Counts(Projection):
    inline = True
    cached = True
    counts: Rows[CountRow]

    def project(self, event: Recorded[Written]) -> None:
        for key in event.data.keys:
            self.counts.fold(key, by=lambda row: row)


COUNTS: Final = ProjectionDefinition(Counts)
ROWS: Final = COUNTS.rows["counts"]
TABLE: Final = ROWS.table(1)


class Clock(machine.World):
    """A clock that the test turns. It never says the same time twice."""

    def __init__(self) -> None:
        self.time = 0.0

    def monotonic(self) -> float:
        self.time += 1e-6
        return self.time


class HeldUp:
    """A store some of whose answers are held up until they are let go on."""

    def __init__(self, store: Store, written: Callable[[Changeset, int], None]) -> None:
        self._store = store
        self._written = written
        self.writers = store.writers
        self.waiting: list[asyncio.Future[None]] = []
        self.working: Counter[str] = Counter()
        self.reads = 0
        self.next_held: set[tuple[str, bool]] = set()
        """The next answer to get to one of these places is held up there."""

    def __getattr__(self, name: str) -> Any:
        ask = getattr(self._store, name)
        return self._held_up(name, ask) if name in HELD_UP else ask

    def _held_up(self, name: str, ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def answer(*arguments: Any) -> Any:
            self.reads += name == "get_rows"
            await self.hold(name, made=False)
            self.working[name] += 1
            try:
                found = await ask(*arguments)
            finally:
                self.working[name] -= 1
            if name == "write":
                for unit, position in zip(*arguments, found, strict=True):
                    self._written(unit, position)
            await self.hold(name, made=True)
            return found

        return answer

    async def hold(self, name: str, *, made: bool) -> None:
        """Wait here if the next answer that gets to this place is to be held up."""
        if (name, made) in self.next_held:
            self.next_held.remove((name, made))
            gate = asyncio.get_running_loop().create_future()
            self.waiting.append(gate)
            await gate

    def let_go(self, number: int, problem: Exception | None = None) -> None:
        if self.waiting:
            gate = self.waiting.pop(number % len(self.waiting))
            if gate.done():  # its reader has given up
                return
            if problem is None:
                gate.set_result(None)
            else:
                gate.set_exception(problem)


class Shelf:
    """A shared cache. The answers to our process are held up, as those of its store are."""

    def __init__(self, texts: dict[str, str], store: HeldUp | None = None) -> None:
        self._store = store
        self._texts = texts

    async def get(self, keys: Sequence[str]) -> Sequence[str | None]:
        await self._hold("get", made=False)
        found = [self._texts.get(key) for key in keys]
        await self._hold("get", made=True)
        return found

    async def put(self, entries: Mapping[str, str]) -> None:
        await self._hold("put", made=False)
        self._texts.update(entries)

    async def _hold(self, name: str, *, made: bool) -> None:
        if self._store is not None:
            with suppress(StoreUnavailable):
                await self._store.hold(name, made=made)

    async def close(self) -> None: ...


class World:
    """A process that reads through a cache, another one that writes, and all that was ever committed."""

    def __init__(self, ours: Store, theirs: Store, clock: Clock, *, shared: bool) -> None:
        self.clock = clock
        self.store = HeldUp(ours, self._committed)
        self._theirs = theirs
        self._open: AsyncExitStack | None = None
        """A transaction of theirs that has drawn its position and isn't committed yet."""
        self._signal = Signal()
        types = EventTypes([Written])
        self._feed = Feed(self.store, types, self._signal)
        self._committer = Committer(self.store, self._signal.fire)
        texts: dict[str, str] = {}
        shelf = SharedRows(Shelf(texts, self.store), "m") if shared else None
        background = Background(
            module="m",
            source="m",
            store=self.store,
            events=types,
            commit=self._committer.submit,
            feed=self._feed,
            signal=self._signal,
            owner="ann",
            clock=machine.now,
        )
        self._cache = RowCache(COUNTS, background, lambda: self._committer.newest, self._proven, shelf)
        self.view = View(ViewSource(ROWS, self.store, self._live, self._cache))
        self.states: list[State] = [dict.fromkeys(KEYS, 0)]
        self._times = [0.0]
        self._positions: dict[int, State] = {}
        self.floor = dict.fromkeys(KEYS, 0)
        """What every read that begins now must have seen, row by row."""
        self._heard = 0
        self._changes: dict[str, State] = {}
        """By stream, what its unit has made of the rows it counts up."""
        self.tasks: list[asyncio.Task[None]] = []
        self._following = [asyncio.create_task(self._cache.run())]
        self._their_signal = Signal()
        self._their_view: View[CountRow] | None = None
        if shared:
            feed = Feed(theirs, types, self._their_signal)
            neighbour = msgspec.structs.replace(background, store=theirs, feed=feed, signal=self._their_signal)
            cache = RowCache(COUNTS, neighbour, lambda: 0, self._nothing_proven, SharedRows(Shelf(texts), "m"))
            self._their_view = View(ViewSource(ROWS, theirs, self._live, cache))
            self._following.append(asyncio.create_task(cache.run()))

    async def _proven(self) -> int:
        return self._heard

    async def _nothing_proven(self) -> int:
        return 0

    async def _live(self) -> int:
        return 1

    # --- what may happen ------------------------------------------------------------------------------------------

    async def they_write(self, number: int) -> None:
        unit = self._unit(self._several(number & 3))
        self._committed(unit, await write_alone(self._theirs, unit))

    async def they_open(self, _: int) -> None:
        """Write a unit in a transaction that stays open, where others can write beside it."""
        if self._open is None and self.store.writers > 1:
            unit = self._unit(["slow"])
            self._open = AsyncExitStack()
            transaction = await self._open.enter_async_context(self._theirs.transaction("read committed"))
            position = await transaction.write(unit)
            self._opened = unit, position

    async def they_close(self, _: int) -> None:
        if self._open is not None:
            opened, self._open = self._open, None
            await opened.aclose()
            self._committed(*self._opened)

    async def we_write(self, number: int) -> None:
        self.tasks.append(asyncio.create_task(self._write(number)))

    async def _write(self, number: int) -> None:
        with suppress(StoreUnavailable):
            position = await self._committer.submit(self._unit(self._several(number & 3)))
            self._raise_floor(self._positions[position])

    async def they_read(self, number: int) -> None:
        """Have the other process read rows, which it may share then."""
        if self._their_view is not None:
            view, keys = self._their_view, self._several(number)
            self._their_signal.fire()
            self.tasks.append(asyncio.create_task(self._they_read(view, keys)))

    async def _they_read(self, view: View[CountRow], keys: Sequence[str]) -> None:
        self.store.working["theirs"] += 1
        try:
            await view.all(keys)
        finally:
            self.store.working["theirs"] -= 1

    async def lose(self, _: int) -> None:
        """Have memory lose all rows, as if there were too many."""
        self._cache._rows.clear()

    async def read(self, number: int) -> None:
        key = KEYS[number % len(KEYS)]

        async def read() -> State:
            row = await self.view.find(key)
            return {key: row.count if row else 0}

        self._begin(number // len(KEYS), read)

    async def read_several(self, number: int) -> None:
        keys = self._several(number)

        async def read() -> State:
            rows = await self.view.all(keys)
            return {key: rows[key].count if key in rows else 0 for key in keys}

        self._begin(number >> len(KEYS), read)

    async def list(self, number: int) -> None:
        async def read() -> State:
            page = await self.view.page(paging=Paging(page_size=100))
            return dict.fromkeys(KEYS, 0) | {row.name: row.count for row in page.items}

        self._begin(number, read)

    async def add_up(self, number: int) -> None:
        async def read() -> State:
            total = sum((await self.view.sum("count")).values())
            (state,) = [state for state in self.states if sum(state.values()) == total]
            return state

        self._begin(number, read)

    async def hear(self, _: int) -> None:
        """Read on in the feed, as a subscription of the process does."""

        async def hear() -> None:
            with suppress(StoreUnavailable):
                page = await self._feed.read(self._heard, 1)
                self._heard = max(self._heard, page.position)
                for event in page.events:
                    self._raise_floor(self._positions[event.position])

        self.tasks.append(asyncio.create_task(hear()))

    async def let_go(self, number: int) -> None:
        self.store.let_go(number)

    async def break_down(self, number: int) -> None:
        self.store.let_go(number, StoreUnavailable("The store is away.", maybe_executed=False))

    async def wake(self, _: int) -> None:
        self._signal.fire()

    async def wait(self, number: int) -> None:
        self.clock.time += (0.01, 0.3, 0.6, MAX_AGE_SECONDS)[number % 4]

    async def hold_up(self, number: int) -> None:
        self.store.next_held.add(PLACES[number % len(PLACES)])

    async def let_all_go(self, _: int) -> None:
        """Let everything go on that is held up, one after the other."""
        self.store.next_held.clear()
        while self.store.waiting:
            self.store.let_go(0)
            await self.settle()

    # --- how it is done -------------------------------------------------------------------------------------------

    def _unit(self, keys: Sequence[str]) -> Changeset:
        """A unit that counts some rows up."""
        stream, state = f"s-{len(self._changes)}", State()
        self._changes[stream] = state
        data = encode_text(Written(keys=tuple(keys)))
        event = NewEvent(stream, 1, uuid7(), "Written", 1, data, "{}", datetime.now(UTC))

        def fold(key: str) -> Callable[[str | None], StoredRow | None]:
            def count_up(old: str | None) -> StoredRow:
                count = 1 + (ROWS.decode(old).count if old else 0)
                state[key] = count
                row: StoredRow = ROWS.stored(CountRow(name=key, count=count))
                return row

            return count_up

        rows = [RowFold(TABLE, (key,), fold(key)) for key in keys]
        return Changeset(appends=[Append(stream, 0, [event])], rows=rows)

    @staticmethod
    def _several(number: int) -> Sequence[str]:
        return [key for place, key in enumerate(KEYS) if number >> place & 1] or KEYS[:2]

    def _committed(self, unit: Changeset, position: int) -> None:
        """Note that a unit was committed just now."""
        changed = self._positions[position] = self._changes[unit.appends[0].stream]
        self.states.append(self.states[-1] | changed)
        self._times.append(self.clock.monotonic())

    def _raise_floor(self, state: State) -> None:
        for key, count in state.items():
            self.floor[key] = max(self.floor[key], count)

    def _begin(self, number: int, read: Callable[[], Awaitable[State]]) -> None:
        """Begin a read; when it ends, compare it with what it must have seen and with what there was."""
        known = sorted(self._positions)
        told = known[number % len(known)] if known and number % 5 == 1 else 0
        floor = dict(self.floor)
        for position in known[: bisect_right(known, told)]:
            floor = {key: max(count, self._positions[position].get(key, 0)) for key, count in floor.items()}
        at = self.clock.time - MAX_AGE_SECONDS
        old = [state for state, time in zip(self.states, self._times, strict=True) if time <= at]

        async def compare() -> None:
            with entered(Context(positions={"m": told} if told else {})):
                try:
                    seen = await read()
                except StoreUnavailable:
                    return
            for key, count in seen.items():
                assert count >= floor[key], f"{key} went back"
                assert not old or count >= old[-1][key], f"{key} is too old"
            assert any(seen.items() <= state.items() for state in self.states), "there never was such a state"
            self._raise_floor(seen)

        self.tasks.append(asyncio.create_task(compare()))

    async def stop(self) -> None:
        await self.they_close(0)
        await self.let_all_go(0)
        tasks = [*self._following, *self.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def settle(self) -> None:
        """Wait until everything that isn't held up has ended."""
        quiet = 0
        while quiet < 15:
            working = self.store.working.total()
            if self._open is not None:
                working -= self.store.working["read_feed"]  # it waits for the transaction
            await asyncio.sleep(0.0005 if working else 0)
            quiet = 0 if working else quiet + 1
        for task in [task for task in self.tasks if task.done()]:
            self.tasks.remove(task)
            task.result()

    async def end(self) -> None:
        """Let everything go on; then all rows are as they were committed, and the next time they come from memory."""
        await self.they_close(0)
        await self.let_all_go(0)
        await self.settle()
        assert not self.tasks
        reads = -1
        while reads != self.store.reads:
            reads = self.store.reads
            await self.wake(0)
            await self.settle()
            await self.read_several(0b111)
            await self.settle()
            assert self.floor == self.states[-1]


ACTIONS: Final = [
    *[World.they_write] * 4,
    World.they_open,
    World.they_close,
    World.we_write,
    *[World.they_read] * 3,
    *[World.lose] * 2,
    *[World.read] * 6,
    *[World.read_several] * 6,
    World.list,
    World.add_up,
    World.hear,
    *[World.hold_up] * 6,
    *[World.let_go] * 4,
    World.break_down,
    *[World.wake] * 2,
    World.wait,
]

History = list[tuple[Callable[[World, int], Awaitable[None]], int]]

histories = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 200)), min_size=80, max_size=120)


def held(name: str, *, made: bool) -> tuple[Callable[[World, int], Awaitable[None]], int]:
    return World.hold_up, PLACES.index((name, made))


ADA, BOB, BOTH = 1, 2, 3

# What chance seldom finds.

FOLLOWING_BEGINS_AGAIN_BEHIND_A_CHANGE: Final = [
    (World.read_several, BOTH),
    (World.they_write, ADA),
    (World.hear, 0),
    held("head", made=True),
    (World.wake, 0),
    (World.break_down, 0),
    (World.read_several, ADA),
]
A_SLOW_READ_ENDS_WITH_A_NEWER_ROW_THAN_THE_KEPT_ONE: Final = [
    held("get_rows", made=False),
    (World.read_several, ADA),
    (World.they_write, ADA),
    (World.wake, 0),
    (World.read_several, ADA),
    held("head", made=True),
    (World.they_write, ADA),
    (World.let_go, 0),
    (World.read_several, ADA),
]
A_READ_BEGINS_BEFORE_A_STEP_AND_IS_MADE_AFTER_IT: Final = [
    (World.read_several, BOTH),
    (World.they_write, ADA),
    (World.wake, 0),
    held("get_rows", made=False),
    (World.read_several, ADA),
    (World.wake, 0),
    held("head", made=True),
    (World.they_write, BOTH),
    (World.let_go, 0),
    (World.read_several, BOTH),
]
A_STEP_HAS_MORE_THAN_ONE_PAGE: Final = [
    (World.read_several, BOTH),
    (World.they_write, ADA),
    (World.they_write, BOB),
    (World.wait, 3),
    (World.wake, 0),
    (World.read_several, BOB),
]
A_ROW_IS_READ_DURING_A_STEP: Final = [
    (World.read_several, BOTH),
    (World.they_write, ADA),
    (World.wake, 0),
    held("head", made=True),
    (World.wake, 0),
    (World.they_write, BOTH),
    (World.read_several, ADA),
    held("head", made=True),
    (World.let_go, 0),
    (World.read_several, BOTH),
]


A_SHARED_ROW_IS_OLDER_THAN_WHAT_THE_STORE_HAS_TOLD: Final = [
    (World.they_write, BOTH),
    (World.wake, 0),
    (World.they_read, BOTH),
    (World.they_read, BOTH),
    (World.read_several, BOTH),
    held("head", made=True),
    (World.wake, 0),
    (World.they_write, ADA),
    (World.read_several, ADA),
    (World.lose, 0),
    (World.read_several, ADA),
    (World.let_go, 0),
    (World.read_several, ADA),
]
A_SHARED_ROW_CHANGES_WHILE_IT_IS_FETCHED: Final = [
    (World.they_write, BOTH),
    (World.wake, 0),
    (World.they_read, BOTH),
    (World.they_read, BOTH),
    (World.lose, 0),
    held("get", made=True),
    (World.read_several, ADA),
    (World.they_write, ADA),
    (World.wake, 0),
    (World.read_several, BOTH),
    (World.let_go, 0),
    (World.read_several, ADA),
]

A_ROW_CHANGES_BEFORE_IT_IS_SHARED: Final = [
    (World.they_write, BOTH),
    (World.hear, 0),
    (World.wake, 0),
    held("head", made=True),
    (World.wake, 0),
    (World.read_several, ADA),
    (World.they_write, ADA),
    (World.let_go, 0),
    (World.hear, 0),
    (World.wait, 3),
    (World.wake, 0),
    (World.read_several, ADA),
]


async def play(history: History, place: Place, clock: Clock, *, shared: bool = False) -> None:
    async with AsyncExitStack() as stack:
        stores = place(), place()
        for store in stores:
            await store.open()
            stack.push_async_callback(store.close)
        await stores[0].create_table(TABLE)
        world = World(*stores, clock, shared=shared)
        stack.push_async_callback(world.stop)
        for act, number in history:
            await act(world, number)
            await world.settle()
        await world.end()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    monkeypatch.setattr("craton.runtime.background.ERROR_PAUSE_SECONDS", 0)
    monkeypatch.setattr("craton.runtime.projections.row_cache.PAGE", 1)
    monkeypatch.setattr("craton.runtime.projections.row_cache.PAUSE_SECONDS", 0)  # `settle` doesn't see it
    with machine.replaced_by(Clock()) as clock:
        yield clock


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories)
@example(history=FOLLOWING_BEGINS_AGAIN_BEHIND_A_CHANGE)
@example(history=A_SLOW_READ_ENDS_WITH_A_NEWER_ROW_THAN_THE_KEPT_ONE)
@example(history=A_READ_BEGINS_BEFORE_A_STEP_AND_IS_MADE_AFTER_IT)
@example(history=A_STEP_HAS_MORE_THAN_ONE_PAGE)
@example(history=A_ROW_IS_READ_DURING_A_STEP)
def test_on_sqlite(history: History, clock: Clock, tmp_path: Path) -> None:
    with TemporaryDirectory(dir=tmp_path) as folder:
        asyncio.run(play(history, SqlitePlace(Path(folder)), clock))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories)
@example(history=A_SHARED_ROW_IS_OLDER_THAN_WHAT_THE_STORE_HAS_TOLD)
@example(history=A_SHARED_ROW_CHANGES_WHILE_IT_IS_FETCHED)
@example(history=A_ROW_CHANGES_BEFORE_IT_IS_SHARED)
def test_with_a_shared_cache(history: History, clock: Clock, tmp_path: Path) -> None:
    with TemporaryDirectory(dir=tmp_path) as folder:
        asyncio.run(play(history, SqlitePlace(Path(folder)), clock, shared=True))


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories)
def test_on_postgres(history: History, clock: Clock, postgres_url: str) -> None:
    async def play_there() -> None:
        place = PostgresPlace(postgres_url)
        try:
            await play(history, place, clock)
        finally:
            await place.drop()

    asyncio.run(play_there())
