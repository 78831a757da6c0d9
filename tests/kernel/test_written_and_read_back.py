"""What is written can be read back: the rest is refused before the commit, with a sentence and the field's path."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from craton.application import (
    Api,
    Context,
    Key,
    MisuseError,
    Module,
    NotStorable,
    Projection,
    Repository,
    Row,
    Rows,
    Saga,
    Sagas,
    command,
    query,
    schedule,
    step,
)
from craton.application.errors import UnusableId
from craton.domain import Aggregate, Event, Id, Recorded, Value
from craton.domain.value import Instant
from craton.ports import Append, NewEvent, Snapshot, Store, Unit
from craton.runtime import App
from craton.runtime.aggregates import state_type
from tests.kernel.bank import Account, AccountId, Bank, ask, bank
from tests.kernel.conftest import Clock, StartApp, eventually

KEY = Context(key="key-1")
NOON = datetime(2026, 5, 17, 12, tzinfo=UTC)


class NoteId(Id):
    pattern = r"[^/]*"


class Line(Value):
    count: int = 0


class Written(Event):
    text: str = ""
    count: int = 0
    ratio: float = 0.0
    at: Instant = NOON
    lines: tuple[Line, ...] = ()
    scores: dict[int, int] = {}  # noqa: RUF012


class Erased(Event):
    pass


class Note(Aggregate):
    id: NoteId
    text: Any = ""

    def apply(self, event: Written) -> None:
        self.text = event.text

    def cheat(self) -> None:
        self.text = "cheated"


class Keen(Aggregate):
    """Stores its state with each commit."""

    snapshot_every = 1
    id: NoteId
    count: int = 0

    def apply(self, event: Written) -> None:
        self.count = event.text  # type: ignore[assignment]


class NoteRow(Row):
    note: Key[NoteId]
    count: int


class Counts(Projection):
    inline = True
    notes: Rows[NoteRow]

    def project(self, event: Recorded[Written]) -> None:
        count: Any = "many" if event.data.text == "uncountable" else event.data.count
        self.notes.put(NoteRow(note=NoteId(event.subject), count=count))


class Trip(Saga):
    count: int = 0

    @step
    async def go(self, notes: "Notes") -> None:
        """Nothing."""


class Notes(Api):
    @command
    async def write(self, note: NoteId, event: str) -> None: ...

    @command
    async def cheat(self, note: NoteId) -> None: ...

    @command
    async def keep(self, note: NoteId) -> None: ...

    @command
    async def answer(self, what: str) -> dict[int, Line]: ...

    @command
    async def later(self, at: datetime, scores: dict[int, int]) -> None: ...

    @command
    async def score(self, scores: dict[int, int]) -> None: ...

    @command
    async def travel(self, count: Any) -> None: ...

    @query
    async def text(self, note: NoteId) -> str: ...


EVENTS: dict[str, Any] = {
    "good": lambda: Written(
        text="a", count=1, ratio=0.5, at=NOON + timedelta(hours=2), lines=(Line(count=1),), scores={1: 2}
    ),
    "text": lambda: Written(text=1),  # type: ignore[arg-type]
    "count": lambda: Written(count="1"),  # type: ignore[arg-type]
    "count-true": lambda: Written(count=True),
    "ratio": lambda: Written(ratio=float("nan")),
    "at": lambda: Written(at=datetime(2026, 1, 1)),
    "lines[1].count": lambda: Written(lines=(Line(), Line(count="1"))),  # type: ignore[arg-type]
    "lines": lambda: Written(lines=[Line()]),  # type: ignore[arg-type]
    "uncountable": lambda: Written(text="uncountable"),
    "huge": lambda: Written(count=2**70),
}


class NoteService(Notes):
    def __init__(self, notes: Repository[Note], keen: Repository[Keen], trips: Sagas[Trip]) -> None:
        self._notes = notes
        self._keen = keen
        self._trips = trips
        self.scored: list[Any] = []

    async def write(self, note: NoteId, event: str) -> None:
        (await self._notes.find_or_add(note)).record(EVENTS[event]())

    async def cheat(self, note: NoteId) -> None:
        (await self._notes.get(note)).cheat()

    async def keep(self, note: NoteId) -> None:
        (await self._keen.find_or_add(note)).record(Written(text="no number"))

    async def answer(self, what: str) -> dict[int, Line]:
        wrong: Any = {1: Line(count="many")}  # type: ignore[arg-type]
        return wrong if what == "wrong" else {1: Line(count=7)}

    async def later(self, at: datetime, scores: dict[int, int]) -> None:
        schedule(at, Notes.score, scores=scores)

    async def score(self, scores: dict[int, int]) -> None:
        (await self._notes.find_or_add(NoteId("scores"))).record(Written(text=str(scores)))

    async def travel(self, count: Any) -> None:
        self._trips.start(Trip(count=count), id=AccountId.new())

    async def text(self, note: NoteId) -> str:
        return str((await self._notes.get(note)).text)


def notes() -> Module:
    return Module("notes", api=Notes, service=NoteService, projections=[Counts], sagas=[Trip])


@pytest.fixture
async def app(start: StartApp, clock: Clock) -> App:
    return await start(notes(), clock=clock)


@pytest.fixture
def api(app: App) -> Notes:
    return app.api(Notes)


async def head(app: App) -> int:
    return await app.running["notes"].store.head()


class TestAnEvent:
    async def test_that_comes_back_as_it_was_is_written(self, api: Notes, app: App, start: StartApp) -> None:
        await api.write(NoteId("a"), "good")

        again = await start(notes())

        assert await again.api(Notes).text(NoteId("a")) == "a"

    @pytest.mark.parametrize(
        ("event", "path"),
        [
            ("text", "$.text"),
            ("count", "$.count"),
            ("count-true", "$.count"),
            ("ratio", "$.ratio"),
            ("at", "$.at"),
            ("lines[1].count", "$.lines[1].count"),
            ("lines", "$.lines"),
        ],
    )
    async def test_that_would_not_come_back_as_it_was_is_refused_with_its_path(
        self, api: Notes, app: App, event: str, path: str
    ) -> None:
        with pytest.raises(NotStorable, match=r"Written") as refused:
            await api.write(NoteId("a"), event)

        assert path in str(refused.value).replace("[...]", "[1]")
        assert await head(app) == 0
        await api.write(NoteId("a"), "good")

    def test_that_apply_does_not_take_is_refused_when_it_is_recorded(self) -> None:
        with pytest.raises(TypeError, match=r"Note can't record Erased: .* apply must be annotated with it"):
            Note(NoteId("a")).record(Erased())


class TestAStoredEventThatCannotBeDecoded:
    async def test_is_a_failure_that_names_its_position(self, start: StartApp, app: App, api: Notes) -> None:
        store = app.running["notes"].store
        event = NewEvent("note-a", 1, "id", "Written", 1, '{"text":1}', "{}", NOON)
        await store.write([Unit(appends=[Append("note-a", 0, [event])])])

        with pytest.raises(LookupError, match=r"the event at position 1, Written version 1 .* can't be decoded"):
            await api.text(NoteId("a"))


class TestASnapshot:
    async def test_that_could_not_be_read_back_is_refused(self, api: Notes, app: App) -> None:
        with pytest.raises(NotStorable, match=r"the state of keen-a .* - at `\$.count`"):
            await api.keep(NoteId("a"))

        assert await head(app) == 0

    async def test_that_cannot_be_decoded_is_ignored(self, start: StartApp, store: Store) -> None:
        first = await start(bank())
        account = await first.api(Bank).open("Ann", "ann@example.org")
        for _ in range(6):
            await first.api(Bank).deposit(account, 1)
        (state,) = await store.load([(f"account-{account}", _fingerprint())])
        assert state.snapshot is not None
        wrong = Snapshot(state.snapshot.stream, state.snapshot.version + 1, _fingerprint(), '{"balance":"much"}')
        await store.write([Unit(snapshots=[wrong])])

        second = await start(bank())

        assert (await second.api(Bank).state(account)).balance == 6
        assert await second.api(Bank).deposit(account, 1) == 7


def _fingerprint() -> str:
    return state_type(Account).fingerprint


class TestAState:
    async def test_that_is_changed_outside_of_apply_is_refused(self, api: Notes) -> None:
        await api.write(NoteId("a"), "good")

        with pytest.raises(MisuseError, match=r"Note.text was changed outside of apply"):
            await api.cheat(NoteId("a"))

        assert await api.text(NoteId("a")) == "a"

    def test_outside_of_the_annotated_fields_is_refused(self) -> None:
        class Careless(Aggregate):
            def apply(self, event: Written) -> None:
                self.balance = 0

        with pytest.raises(TypeError, match=r"Careless.balance isn't a field, so that a snapshot would lose it"):
            Careless(NoteId("a")).record(Written())

    def test_that_all_aggregates_would_share_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"Shared.lines has a default that can be changed"):
            type("Shared", (Aggregate,), {"__annotations__": {"lines": list[int]}, "lines": []})


class TestARow:
    async def test_that_could_not_be_read_back_is_refused_with_its_event(self, api: Notes, app: App) -> None:
        with pytest.raises(Exception, match=r"a NoteRow can't be written.* - at `\$.count`"):
            await api.write(NoteId("a"), "uncountable")

        assert await head(app) == 0


class TestAnAnswer:
    async def test_whose_keys_are_numbers_is_given_again(self, app: App) -> None:
        first, again = [await ask(app, Notes.answer, "right", context=KEY) for _ in range(2)]

        assert (first.replayed, again.replayed) == (False, True)
        assert again.result == first.result == {1: Line(count=7)}

    async def test_that_could_not_be_read_back_is_refused(self, app: App) -> None:
        with pytest.raises(NotStorable, match=r"the result of Notes.answer .* - at `\$\[.*\]\.count`"):
            await ask(app, Notes.answer, "wrong", context=KEY)


class TestATimer:
    async def test_is_given_arguments_whose_keys_are_numbers(self, start: StartApp, clock: Clock) -> None:
        app = await start(notes(), clock=clock, subscriptions=True)
        await app.api(Notes).later(clock() + timedelta(hours=1), {7: 1})

        clock.forward(hours=2)

        await eventually(lambda: _no_timer(app))
        assert await app.api(Notes).text(NoteId("scores")) == "{7: 1}"

    @pytest.mark.parametrize(
        ("at", "scores", "problem"),
        [
            (NOON, {"seven": 1}, "the arguments of Notes.score can't be written"),
            (NOON, {7: "one"}, "the arguments of Notes.score can't be written"),
            (datetime(2026, 1, 1), {7: 1}, "has no time zone"),
        ],
    )
    async def test_whose_command_could_not_be_given_is_refused(
        self, api: Notes, app: App, at: datetime, scores: Any, problem: str
    ) -> None:
        with pytest.raises(MisuseError, match=problem):
            await api.later(at, scores)

        assert await app.running["notes"].store.next_timer() is None


class TestASaga:
    async def test_whose_fields_could_not_be_read_back_is_not_started(self, api: Notes, app: App) -> None:
        with pytest.raises(NotStorable, match=r"saga Trip can't be written.* - at `\$.count`"):
            await api.travel("many")

        assert await head(app) == 0


class TestAName:
    def test_of_streams_holds_no_hyphen(self) -> None:
        with pytest.raises(TypeError, match=r"stream_prefix = 'no-te' isn't an identifier"):
            type("Wrong", (Aggregate,), {"stream_prefix": "no-te"})

    @pytest.mark.parametrize("id", ["", "a\0b", "a\ud800", "x" * 256])
    async def test_of_an_aggregate_that_no_store_can_find_is_refused(self, api: Notes, id: str) -> None:
        for call in (api.write(NoteId(id), "good"), api.text(NoteId(id))):
            with pytest.raises(UnusableId):
                await call


async def _no_timer(app: App) -> bool:
    return await app.running["notes"].store.next_timer() is None
