"""Rows kept in memory: read once while nothing changes, never old, and never older than what was read before."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from craton.application import (
    Api,
    Column,
    Context,
    Key,
    MisuseError,
    Module,
    Paging,
    Policy,
    Projection,
    Repository,
    Row,
    Rows,
    View,
    WiringError,
    command,
    query,
)
from craton.application.api import operation_of
from craton.domain import Aggregate, Event, Id, Recorded
from craton.domain.world import World, replaced_by
from craton.ports import Document, Table
from craton.runtime import App
from craton.runtime.projections.row_cache import MAX_AGE_SECONDS
from tests.conftest import Place


class PersonId(Id):
    pass


class Named(Event):
    name: str


class Person(Aggregate[PersonId]):
    name: str = ""

    def apply(self, event: Named) -> None:
        self.name = event.name


class NameRow(Row):
    person: Key[PersonId]
    name: str
    letters: Column[int] = 0


class Names(Projection):
    inline = True
    cached = True
    names: Rows[NameRow]

    def project(self, event: Recorded[Named]) -> None:
        self.names.put(NameRow(person=PersonId(event.subject), name=event.data.name, letters=len(event.data.name)))


class People(Api):
    @command
    async def call(self, person: PersonId, name: str) -> None:
        """Give somebody a name."""

    @command
    async def call_all(self, people: tuple[PersonId, ...], name: str) -> None:
        """Give several the same name at once."""

    @query
    async def name(self, person: PersonId) -> str:
        """What somebody is called."""

    @query
    async def names(self, people: tuple[PersonId, ...]) -> tuple[str, ...]:
        """What some are called, as far as they have names."""

    @query
    async def everybody(self) -> tuple[str, ...]:
        """What everybody is called."""

    @query
    async def letters(self) -> int:
        """How many letters all names have."""


class PeopleService(People):
    def __init__(self, people: Repository[Person], rows: View[NameRow]) -> None:
        self._people = people
        self._rows = rows

    async def call(self, person: PersonId, name: str) -> None:
        found = await self._people.find(person)
        if found is None:
            found = Person(person)
            self._people.add(found)
        found.record(Named(name=name))

    async def call_all(self, people: tuple[PersonId, ...], name: str) -> None:
        for person in people:
            await self.call(person, name)

    async def name(self, person: PersonId) -> str:
        row = await self._rows.find(person)
        return "" if row is None else row.name

    async def names(self, people: tuple[PersonId, ...]) -> tuple[str, ...]:
        found = await self._rows.all(people)
        return tuple(row.name for row in found.values())

    async def everybody(self) -> tuple[str, ...]:
        return tuple(row.name for row in (await self._rows.page(paging=Paging(page_size=100))).items)

    async def letters(self) -> int:
        return sum((await self._rows.sum("letters")).values())


class Greeted:
    """The names of events, each with what the view said when the event was heard of."""

    def __init__(self) -> None:
        self.names: list[tuple[str, str]] = []

    async def come(self, count: int) -> None:
        while len(self.names) < count:
            await asyncio.sleep(0.005)


class Greeter(Policy):
    async def react(self, event: Recorded[Named], people: People, greeted: Greeted) -> None:
        greeted.names.append((event.data.name, await people.name(PersonId(event.subject))))


class Greeting(Api):
    """Nothing can be asked of it."""


class GreetingService(Greeting):
    pass


class Clock(World):
    """A world whose clock can be turned."""

    def __init__(self) -> None:
        self._turned = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self._turned

    def forward(self, seconds: float) -> None:
        self._turned += seconds


class Town:
    """A running app, how often rows were read from its store, and what holds its reads up."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app = app
        self.people = app.api(People)
        self.reads = 0
        self.held: asyncio.Event | None = None
        self.reading = asyncio.Event()
        self.held_answers = 0
        self._answers = {"head": asyncio.Event(), "read_feed": asyncio.Event()}
        self.follow()
        store = app.running["people"].store
        read = store.get_rows

        async def counted(table: Table, keys: Sequence[tuple[Any, ...]]) -> Sequence[str | None]:
            self.reads += 1
            rows = await read(table, keys)
            if self.held is not None:
                self.reading.set()
                await self.held.wait()
            return rows

        async def answered(name: str, ask: Callable[..., Awaitable[Any]], *arguments: int) -> Any:
            answer = await ask(*arguments)
            if not self._answers[name].is_set():
                self.held_answers += 1
                await self._answers[name].wait()
            return answer

        monkeypatch.setattr(store, "get_rows", counted)
        for name in self._answers:
            monkeypatch.setattr(store, name, partial(answered, name, getattr(store, name)))

    def stop_following(self, *names: str) -> None:
        """From now on what the store says of its feed doesn't arrive."""
        for name in names or self._answers:
            self._answers[name].clear()

    def follow(self) -> None:
        for answer in self._answers.values():
            answer.set()

    async def kept(self, person: PersonId) -> None:
        """Wait until somebody's row is in memory."""
        while True:
            before = self.reads
            await self.people.name(person)
            if self.reads == before:
                return
            await asyncio.sleep(0.005)

    async def name_at(self, person: PersonId, position: int) -> str:
        """What somebody is called, for a caller who was told a position."""
        told = Context(positions={"people": position})
        answer = await self.app.call(operation_of(People.name), {"person": person}, told)
        return str(answer.result)

    async def call(self, person: PersonId, name: str) -> int:
        """Give somebody a name; return the position of that."""
        answer = await self.app.call(operation_of(People.call), {"person": person, "name": name}, Context())
        return answer.position


def people() -> Module:
    return Module("people", api=People, service=PeopleService, projections=[Names])


@asynccontextmanager
async def town(place: Place, monkeypatch: pytest.MonkeyPatch, *others: Module) -> AsyncIterator[Town]:
    app = App("town", modules=[people(), *others])
    async with app.run(place):
        here = Town(app, monkeypatch)
        try:
            yield here
        finally:
            here.follow()


@pytest.fixture
def clock() -> Iterator[Clock]:
    with replaced_by(Clock()) as clock:
        yield clock


class TestARow:
    async def test_is_read_once(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here:
            await here.people.call(person, "Ada")
            await here.kept(person)
            reads = here.reads

            names = [await here.people.name(person) for _ in range(100)]

            assert names == ["Ada"] * 100
            assert here.reads == reads

    async def test_that_is_not_there_is_not_looked_for_again(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here:
            await here.kept(person)
            reads = here.reads

            assert await here.people.name(person) == ""
            assert here.reads == reads

            await here.people.call(person, "Ada")
            assert await here.people.name(person) == "Ada"

    async def test_refuses_a_key_of_another_type(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        async with town(place, monkeypatch) as here:
            with pytest.raises(MisuseError, match="NameRow is found by person, a text, not by 5"):
                await here.people.names((5,))  # type: ignore[arg-type]


class TestAChange:
    async def test_is_seen_at_once_by_the_process_that_made_it(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here:
            for number in range(100):
                await here.people.call(person, str(number))

                assert await here.people.name(person) == str(number)
                if number % 10 == 0:
                    await here.kept(person)

    async def test_is_seen_in_every_process(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here, town(place, monkeypatch) as there:
            await here.people.call(person, "Ada")
            for name in ("Ada Byron", "Ada Lovelace"):
                await there.kept(person)

                await here.people.call(person, name)

                while await there.people.name(person) != name:
                    await asyncio.sleep(0.01)

    async def test_whose_position_a_caller_sends_is_waited_for(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here, town(place, monkeypatch) as there:
            await here.people.call(person, "Ada")
            await there.kept(person)
            for number in range(20):
                position = await here.call(person, str(number))

                assert await there.name_at(person, position) == str(number)

    async def test_while_a_row_is_read_leaves_nothing_old_behind(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here:
            await here.people.call(person, "old")
            await asyncio.sleep(0.2)  # the cache has followed
            here.held = asyncio.Event()
            filling = asyncio.create_task(here.people.name(person))
            await here.reading.wait()

            await here.people.call(person, "new")
            await asyncio.sleep(0.2)  # it has followed again: the change has gone by
            here.held.set()

            assert await filling == "old"
            here.held = None
            assert await here.people.name(person) == "new"


class TestAProcessThatDoesNotFollow:
    async def test_answers_nothing_older_than_a_second(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here, town(place, monkeypatch) as there:
            await here.people.call(person, "old")
            await there.kept(person)
            there.stop_following()
            await here.people.call(person, "new")

            clock.forward(MAX_AGE_SECONDS)

            assert await there.people.name(person) == "new"

    async def test_because_it_was_stopped_answers_nothing_old_when_it_goes_on(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here, town(place, monkeypatch) as there:
            for name in ("Ada", "Ada Byron", "Ada Lovelace"):
                await there.kept(person)
                await here.people.call(person, name)

                clock.forward(35)

                assert await there.people.name(person) == name

    async def test_counts_the_age_from_before_it_asked(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here, town(place, monkeypatch) as there:
            await here.people.call(person, "old")
            await there.kept(person)
            there.stop_following()
            while not there.held_answers:
                await there.people.name(PersonId.new())
                await asyncio.sleep(0.005)
            await here.people.call(person, "new")
            clock.forward(MAX_AGE_SECONDS)

            there.follow()
            for _ in range(10):
                await asyncio.sleep(0)  # what was held up arrives

            assert await there.people.name(person) == "new"

    async def test_answers_from_memory_again_once_it_follows(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here:
            await here.people.call(person, "Ada")
            await here.kept(person)
            here.stop_following()
            clock.forward(35)
            reads = here.reads
            await here.people.name(person)
            assert here.reads == reads + 1

            here.follow()

            await here.kept(person)


async def test_nothing_is_kept_of_a_store_that_was_put_back_to_an_older_state(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = PersonId.new()
    monkeypatch.setattr("craton.runtime.background.ERROR_PAUSE_SECONDS", 0)
    async with town(place, monkeypatch) as here:
        await here.people.call(person, "Ada")
        await here.kept(person)
        reads = here.reads

        async def put_back() -> int:
            return 0

        monkeypatch.setattr(here.app.running["people"].store, "head", put_back)

        await here.people.name(PersonId.new())  # wakes the cache
        while here.reads == reads + 1:
            assert await here.people.name(person) == "Ada"
            await asyncio.sleep(0.005)


class TestReadsOfOneProcessNeverGoBack:
    async def test_after_one_that_was_told_a_position(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here, town(place, monkeypatch) as there:
            await here.people.call(person, "old")
            await there.kept(person)
            there.stop_following()
            position = await here.call(person, "new")

            assert await there.name_at(person, position) == "new"
            assert await there.people.name(person) == "new"

    async def test_after_one_that_was_overtaken(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here, town(place, monkeypatch) as there:
            await here.people.call(person, "old")
            await there.kept(PersonId.new())
            there.stop_following()
            there.held = asyncio.Event()
            slow = asyncio.create_task(there.people.name(person))
            await there.reading.wait()
            position = await here.call(person, "new")
            held, there.held = there.held, None
            assert await there.name_at(person, position) == "new"

            held.set()

            assert await slow == "old"  # it began before
            assert await there.people.name(person) == "new"

    async def test_after_a_list(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here, town(place, monkeypatch) as there:
            await here.people.call(person, "old")
            await there.kept(person)
            there.stop_following()
            await here.people.call(person, "new")

            assert await there.people.everybody() == ("new",)
            assert await there.people.name(person) == "new"

    async def test_after_a_sum(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here, town(place, monkeypatch) as there:
            await here.people.call(person, "old")
            await there.kept(person)
            there.stop_following()
            await here.people.call(person, "newest")

            assert await there.people.letters() == len("newest")
            assert await there.people.name(person) == "newest"

    async def test_after_an_event_of_the_feed(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        person, greeted = PersonId.new(), Greeted()
        greeter = Module(
            "greeter", api=Greeting, service=GreetingService, policies=[Greeter], provides={Greeted: greeted}
        )
        async with town(place, monkeypatch) as here, town(place, monkeypatch, greeter) as there:
            await here.people.call(person, "old")
            await greeted.come(1)
            await there.kept(person)
            there.stop_following("head")

            await here.people.call(person, "new")
            await greeted.come(2)

            assert greeted.names == [("old", "old"), ("new", "new")]


class TestSeveralRows:
    async def test_are_of_one_state(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        ada, bob = PersonId.new(), PersonId.new()
        async with town(place, monkeypatch) as here, town(place, monkeypatch) as there:
            await here.people.call_all((ada, bob), "old")
            await there.kept(ada)
            there.stop_following()
            await here.people.call_all((ada, bob), "new")

            assert await there.people.names((bob, ada, PersonId.new())) == ("new", "new")

    async def test_are_read_once(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        ada, bob = PersonId.new(), PersonId.new()
        async with town(place, monkeypatch) as here:
            await here.people.call_all((ada, bob), "Ada")
            await here.kept(ada)
            await here.kept(bob)
            reads = here.reads

            assert await here.people.names((ada, bob)) == ("Ada", "Ada")
            assert here.reads == reads


class TestARebuild:
    async def test_changes_nothing_for_readers(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here:
            await here.people.call(person, "Ada")
            await here.kept(person)

            await rebuild(here, lambda: here.people.name(person), "Ada")

            await here.people.call(person, "Ada Byron")
            assert await here.people.name(person) == "Ada Byron"

    async def test_by_another_process_is_noticed_by_a_caller_that_sends_a_position(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here, town(place, monkeypatch) as there:
            await here.people.call(person, "old")
            await there.kept(person)
            await rebuild(here, lambda: here.people.name(person), "old")

            position = await here.call(person, "new")

            assert await there.name_at(person, position) == "new"

    async def test_by_another_process_is_noticed_by_one_that_was_stopped(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        person = PersonId.new()
        async with town(place, monkeypatch) as here, town(place, monkeypatch) as there:
            await here.people.call(person, "old")
            await there.kept(person)
            await rebuild(here, lambda: here.people.name(person), "old")
            await here.people.call(person, "new")

            clock.forward(35)

            assert await there.people.name(person) == "new"

    async def test_that_was_noticed_is_not_forgotten_when_an_older_answer_comes_late(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with town(place, monkeypatch) as here, town(place, monkeypatch) as there:
            (names,) = there.app.projections.values()
            store = there.app.running["people"].store
            ask, asked, arrives = store.document, asyncio.Event(), asyncio.Event()

            async def late(name: str) -> Document | None:
                found = await ask(name)
                asked.set()
                await arrives.wait()
                return found

            with monkeypatch.context() as patched:
                patched.setattr(store, "document", late)
                slow = asyncio.create_task(names.record.refresh())
                await asked.wait()
            await rebuild(here, lambda: here.people.name(PersonId.new()), "")
            assert (await names.progress()).live == 2

            arrives.set()
            await slow

            assert names.record.state.live == names.record.new_generation(2)


async def rebuild(here: Town, read: Callable[[], Awaitable[str]], name: str) -> None:
    """Have a new generation built and made live; meanwhile the row is there all the time."""
    (names,) = here.app.projections.values()
    await names.rebuild()
    while (await names.progress()).building:
        assert await read() == name
        await asyncio.sleep(0.005)


def test_only_what_changes_with_its_events_may_be_cached() -> None:
    class Late(Projection):
        cached = True
        names: Rows[NameRow]

        def project(self, event: Recorded[Named]) -> None:
            """Never called."""

    with pytest.raises(WiringError, match="Late can't be cached"):
        Module("people", api=People, service=PeopleService, projections=[Late])
