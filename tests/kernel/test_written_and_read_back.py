"""What is written can be read back: the rest is refused before the commit, with a sentence and the field's path."""

from collections import Counter, OrderedDict, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import pytest

from craton.application import (
    Api,
    CommandKey,
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
from craton.application.codec import encode_to_keep
from craton.application.errors import AnswerNotKept, UnusableId
from craton.domain import Aggregate, Conflict, Event, Id, Recorded, Secret, Value
from craton.domain.value import Instant
from craton.ports import Append, Changeset, NewEvent, Snapshot, Store
from craton.runtime import App
from craton.runtime.commands.state_type import state_type
from craton.testing import until
from tests.kernel.bank import Account, AccountId, Bank, ask, bank
from tests.kernel.conftest import Clock, StartApp

KEY = Context(key=CommandKey("key-1"))
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


class Stamped(Event):
    pass


class Note(Aggregate[NoteId]):
    text: Any = ""

    def apply(self, event: Written | Stamped) -> None:
        if isinstance(event, Written):
            self.text = event.text

    def cheat(self) -> None:
        self.text = "cheated"


class Keen(Aggregate[NoteId]):
    """Stores its state with each commit."""

    snapshot_every = 1
    count: int = 0

    def apply(self, event: Written) -> None:
        self.count = event.text  # type: ignore[assignment]


class Colour:
    """A scalar of which a later version of the program knows fewer values."""

    json_schema: ClassVar[dict[str, Any]] = {"type": "string"}
    known: ClassVar[dict[str, int]] = {"red": 1}

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Colour) and other.name == self.name

    __hash__ = None  # type: ignore[assignment]

    def encode_value(self) -> str:
        return self.name

    @classmethod
    def decode_value(cls, wire: Any) -> "Colour":
        cls.known[wire]
        return cls(wire)


class Painted(Aggregate[NoteId]):
    snapshot_every = 1
    colour: Colour | None = None

    def apply(self, event: Written) -> None:
        self.colour = Colour(event.text)


class Odd(Conflict):
    """It is odd."""

    count: int


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
    async def count(self, note: NoteId, as_: str) -> tuple[int, ...]: ...

    @command
    async def secret(self) -> dict[str, Any]: ...

    @command
    async def refuse(self) -> None: ...

    @command
    async def paint(self, note: NoteId) -> Colour: ...

    @query
    async def colour(self, note: NoteId) -> str: ...

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
    def __init__(
        self, notes: Repository[Note], keen: Repository[Keen], painted: Repository[Painted], trips: Sagas[Trip]
    ) -> None:
        self._painted = painted
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

    async def count(self, note: NoteId, as_: str) -> tuple[int, ...]:
        await self.write(note, "good")
        answers: dict[str, Any] = {"a tuple": (1, 2), "a list": [1, 2], "a text": "five"}
        return answers[as_]  # type: ignore[no-any-return]

    async def secret(self) -> dict[str, Any]:
        return {"secret": Secret("sesame")}

    async def refuse(self) -> None:
        many: Any = "many"
        raise Odd(count=many)

    async def paint(self, note: NoteId) -> Colour:
        (await self._painted.find_or_add(note)).record(Written(text="red"))
        return Colour("red")

    async def colour(self, note: NoteId) -> str:
        found = (await self._painted.get(note)).colour
        return found.name if found else ""

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


class Pair(NamedTuple):
    one: int
    two: int


class Bag(Value):
    lines: tuple[str, ...] = ()
    anything: Any = None


class Unequal(msgspec.Struct, eq=False):
    count: int = 0


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("value", "kind", "path"),
    [
        (defaultdict(int, a=1), dict[str, int], "$"),
        (Counter("a"), dict[str, int], "$"),
        ({"a": OrderedDict(b=1)}, dict[str, dict[str, int]], "$['a']"),
        (bytearray(b"a"), bytes, "$"),
        ({1}, frozenset[int], "$"),
        ([Pair(1, 2)], list[tuple[int, int]], "$[0]"),
        (Bag(lines=["a"]), Bag, "$.lines"),  # type: ignore[arg-type]
        (Bag(anything=[Pair(1, 2)]), Bag, "$.anything[0]"),
        (Bag(anything={"a": Counter("a")}), Bag, "$.anything['a']"),
    ],
)
def test_a_value_that_would_come_back_equal_but_as_another_type_is_refused(value: Any, kind: Any, path: str) -> None:
    with pytest.raises(NotStorable) as refused:
        encode_to_keep(value, kind, "it")

    assert f"at `{path}`" in str(refused.value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Pair(1, 2), Pair),
        ({"a": [(1, 2)]}, dict[str, list[tuple[int, int]]]),
        (Bag(lines=("a",), anything={"a": [1]}), Bag),
        (NoteId("a"), str),
        (1, float),
    ],
)
def test_a_value_that_comes_back_as_good_as_the_same_is_kept(value: Any, kind: Any) -> None:
    assert msgspec.json.decode(encode_to_keep(value, kind, "it"), type=kind) == value


@pytest.mark.parametrize(
    "at",
    [
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN),
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN),
        datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN),
    ],
)
def test_a_time_is_kept_also_in_the_hour_in_which_the_clocks_are_changed(at: datetime) -> None:
    for value, kind in ((at, Instant), (Written(at=at), Written), ({at: [at]}, dict[Instant, list[Instant]])):
        encode_to_keep(value, kind, "it")

    wire = encode_to_keep(frozenset([at]), frozenset[Instant], "it")

    assert msgspec.json.decode(wire, type=list[datetime])[0].timestamp() == at.timestamp()


@pytest.mark.parametrize("value", [Unequal(), [Unequal()]])
def test_a_value_that_is_never_equal_to_itself_is_refused_with_what_it_lacks(value: Any) -> None:
    kind: Any = list[Unequal] if isinstance(value, list) else Unequal

    with pytest.raises(NotStorable, match=r"isn't equal to itself .* give Unequal an __eq__"):
        encode_to_keep(value, kind, "it")


def test_a_refusal_to_write_does_not_say_the_secret() -> None:
    for value, kind in (
        (Secret("sesame"), str),
        ({Secret("sesame")}, set[str]),
        (Bag(anything=(Secret("sesame"),)), Bag),
    ):
        with pytest.raises(NotStorable) as refused:
            encode_to_keep(value, kind, "it")
        assert "sesame" not in str(refused.value)


async def test_a_call_whose_metadata_could_not_be_read_back_changes_nothing(app: App) -> None:
    number: Any = 5

    with pytest.raises(NotStorable, match=r"the metadata of the call .* - at `\$.actor`"):
        await ask(app, Notes.write, NoteId("a"), "good", context=Context(actor=number))

    assert await head(app) == 0


class TestAStoredEventThatCannotBeDecoded:
    async def test_is_a_failure_that_names_its_position(self, start: StartApp, app: App, api: Notes) -> None:
        store = app.running["notes"].store
        event = NewEvent("note-a", 1, "id", "Written", 1, '{"text":1}', "{}", NOON)
        await store.write([Changeset(appends=[Append("note-a", 0, [event])])])

        with pytest.raises(LookupError, match=r"the event at position 1, Written version 1 .* can't be decoded"):
            await api.text(NoteId("a"))

    async def test_of_a_kind_that_its_aggregate_does_not_apply_is_a_failure_too(self, app: App, api: Notes) -> None:
        store = app.running["notes"].store
        event = NewEvent("keen-a", 1, "id", "Written", 1, "{}", "{}", NOON)
        other = NewEvent("keen-a", 2, "id-2", "Stamped", 1, "{}", "{}", NOON)
        await store.write([Changeset(appends=[Append("keen-a", 0, [event, other])])])

        with pytest.raises(LookupError, match=r"the event at position 2, Stamped version 1 .*: Keen doesn't apply"):
            await api.keep(NoteId("a"))


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
        await store.write([Changeset(snapshots=[wrong])])

        second = await start(bank())

        assert (await second.api(Bank).state(account)).balance == 6
        assert await second.api(Bank).deposit(account, 1) == 7


async def test_a_snapshot_is_ignored_whatever_a_scalar_raises_when_it_decodes_it(
    app: App, api: Notes, start: StartApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.paint(NoteId("a"))
    other = await start(notes())
    monkeypatch.setattr(Colour, "known", {})

    assert await other.api(Notes).colour(NoteId("a")) == "red"


def _fingerprint() -> str:
    return state_type(Account).fingerprint


class TestAState:
    async def test_that_is_changed_outside_of_apply_is_refused(self, api: Notes) -> None:
        await api.write(NoteId("a"), "good")

        with pytest.raises(MisuseError, match=r"Note.text was changed outside of apply"):
            await api.cheat(NoteId("a"))

        assert await api.text(NoteId("a")) == "a"

    def test_outside_of_the_annotated_fields_is_refused(self) -> None:
        class Careless(Aggregate[Id]):
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

    @pytest.mark.parametrize("context", [Context(), KEY])
    async def test_that_is_none_undoes_what_the_command_did(self, app: App, context: Context) -> None:
        with pytest.raises(NotStorable, match=r"the result of Notes.count"):
            await ask(app, Notes.count, NoteId("a"), "a text", context=context)

        assert await head(app) == 0

    @pytest.mark.parametrize("context", [Context(), KEY])
    async def test_may_be_read_back_in_the_form_that_is_annotated(self, app: App, context: Context) -> None:
        for number, given in enumerate(("a tuple", "a list")):
            key = context.key and msgspec.structs.replace(context.key, text=f"{context.key}{number}")
            keyed = msgspec.structs.replace(context, key=key)
            answers = [await ask(app, Notes.count, NoteId(f"a{number}"), given, context=keyed) for _ in range(2)]
            assert [list(answer.result) for answer in answers] == [[1, 2], [1, 2]]

    @pytest.mark.parametrize("context", [Context(), KEY])
    async def test_that_holds_a_secret_of_which_its_type_says_nothing_is_refused(
        self, app: App, context: Context
    ) -> None:
        with pytest.raises(NotStorable, match="it holds a Secret"):
            await ask(app, Notes.secret, context=context)

    async def test_that_can_no_longer_be_decoded_is_not_kept_whatever_a_scalar_raises(
        self, app: App, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await ask(app, Notes.paint, NoteId("a"), context=KEY)
        monkeypatch.setattr(Colour, "known", {})

        with pytest.raises(AnswerNotKept):
            await ask(app, Notes.paint, NoteId("a"), context=KEY)


class TestARefusal:
    @pytest.mark.parametrize("context", [Context(), KEY])
    async def test_whose_fields_could_not_be_read_back_is_refused_each_time(self, app: App, context: Context) -> None:
        for _ in range(2):
            with pytest.raises(NotStorable, match=r"the refusal Odd .* - at `\$.count`"):
                await ask(app, Notes.refuse, context=context)


class TestATimer:
    async def test_is_given_arguments_whose_keys_are_numbers(self, start: StartApp, clock: Clock) -> None:
        app = await start(notes(), clock=clock, subscriptions=True)
        await app.api(Notes).later(clock() + timedelta(hours=1), {7: 1})

        clock.forward(hours=2)

        await until(lambda: _no_timer(app))
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
