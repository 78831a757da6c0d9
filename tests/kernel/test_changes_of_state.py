"""State changes where events are applied and nowhere else: any other change is found, in a test at once."""

import asyncio
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from craton.application import Api, MisuseError, Module, NotStorable, Repository, command, query
from craton.domain import Aggregate, Conflict, Event, Id
from craton.ports import Append, Changeset, NewEvent
from craton.runtime import App
from craton.runtime.commands import aggregates
from tests.kernel.bank import Bank, Gate, bank
from tests.kernel.conftest import StartApp

NOON = datetime(2026, 5, 17, 12, tzinfo=UTC)


class NoteId(Id):
    pattern = r"note-\d+"


N = NoteId("note-0")


class Labelled(Event):
    label: str


class Shade:
    """A value that nobody can compare: each is equal to itself alone."""

    json_schema: ClassVar[dict[str, Any]] = {"type": "string"}

    def __init__(self, name: str) -> None:
        self.name = name

    def encode_value(self) -> str:
        return self.name

    @classmethod
    def decode_value(cls, wire: Any) -> "Shade":
        return cls(wire)


class Unencodable:
    """A value of which one learns only at run time that it can't be stored."""

    json_schema: ClassVar[dict[str, Any]] = {"type": "string"}

    def encode_value(self) -> str:
        raise KeyError("no such value")

    @classmethod
    def decode_value(cls, wire: Any) -> "Unencodable":
        return cls()


class Note(Aggregate[NoteId]):
    """Says in its state what its events said, and more than can be stored if a label says so."""

    snapshot_every = 3
    labels: tuple[str, ...] = ()
    versions: tuple[int, ...] = ()
    ratio: float = 0.0
    ratios: tuple[float, ...] = ()
    shade: Shade | None = None
    odd: Unencodable | None = None

    def apply(self, event: Labelled) -> None:
        self.labels = (*self.labels, event.label)
        self.versions = (*self.versions, self.version)
        match event.label:
            case "inf" | "nan":
                self.ratio = float(event.label)
            case "nans":
                self.ratios = (float("nan"),)
            case "shade":
                self.shade = Shade("dark")
            case "odd":
                self.odd = Unencodable()

    def cheat(self) -> None:
        self.labels = ("cheated",)


class Blank(Conflict):
    """There is nothing on it."""


class Notes(Api):
    @command
    async def label(self, note: NoteId, *, labels: tuple[str, ...]) -> None: ...

    @command
    async def refuse(self, note: NoteId) -> None: ...

    @command
    async def cheat(self, note: NoteId) -> None: ...

    @query
    async def labels(self, note: NoteId) -> tuple[str, ...]: ...

    @query
    async def versions(self, note: NoteId) -> tuple[int, ...]: ...

    @query
    async def refuse_to_look(self, note: NoteId) -> None: ...

    @query
    async def cheat_in_a_query(self, note: NoteId) -> None: ...


class NoteService(Notes):
    def __init__(self, notes: Repository[Note]) -> None:
        self._notes = notes

    async def label(self, note: NoteId, *, labels: tuple[str, ...]) -> None:
        found = await self._notes.find_or_add(note)
        for label in labels:
            found.record(Labelled(label=label))

    async def refuse(self, note: NoteId) -> None:
        await self._notes.get(note)
        raise Blank()

    async def cheat(self, note: NoteId) -> None:
        (await self._notes.get(note)).cheat()

    async def labels(self, note: NoteId) -> tuple[str, ...]:
        return (await self._notes.get(note)).labels

    async def versions(self, note: NoteId) -> tuple[int, ...]:
        return (await self._notes.get(note)).versions

    async def refuse_to_look(self, note: NoteId) -> None:
        await self.refuse(note)

    async def cheat_in_a_query(self, note: NoteId) -> None:
        (await self._notes.get(note)).cheat()


def notes() -> Module:
    return Module("notes", api=Notes, service=NoteService)


@pytest.fixture
async def app(start: StartApp) -> App:
    """As a test is to run it."""
    return await start(notes(), copied_calls=True)


@pytest.fixture
def api(app: App) -> Notes:
    return app.api(Notes)


@pytest.fixture
def every_third(monkeypatch: pytest.MonkeyPatch) -> None:
    """Applications that run for a long time check the first three changes, and then one of three."""
    monkeypatch.setattr(aggregates, "ALWAYS_CHECKED_CHANGES", 3)


async def found(call: Any, times: int = 1) -> int:
    """How often a change outside of apply is found."""
    count = 0
    for _ in range(times):
        try:
            await call(N)
        except MisuseError as problem:
            assert "Note.labels was changed outside of apply" in str(problem)
            count += 1
    return count


async def has_been_said(app: App, *labels: str) -> None:
    """Put events into the log that were accepted when nobody checked."""
    store = app.running["notes"].store
    data = [f'{{"label":"{label}"}}' for label in labels]
    new = [
        NewEvent(f"note-{N}", version, f"id-{version}", "Labelled", 1, text, "{}", NOON)
        for version, text in enumerate(data, 1)
    ]
    await store.write([Changeset(appends=[Append(f"note-{N}", 0, new)])])


class TestAChangeOutsideOfApply:
    @pytest.mark.parametrize("name", ["cheat", "cheat_in_a_query"])
    @pytest.mark.usefixtures("every_third")
    async def test_is_found_in_a_test_whatever_was_changed_before(self, api: Notes, name: str) -> None:
        for _ in range(4):
            await api.label(N, labels=("a",))

        assert await found(getattr(api, name), 5) == 5

    @pytest.mark.parametrize("name", ["cheat", "cheat_in_a_query"])
    @pytest.mark.usefixtures("every_third")
    async def test_is_found_in_one_of_many_changes_later_on(self, start: StartApp, name: str) -> None:
        api = (await start(notes())).api(Notes)
        for _ in range(3):
            await api.label(N, labels=("a",))

        assert 0 < await found(getattr(api, name), 6) < 6

    @pytest.mark.usefixtures("every_third")
    async def test_is_found_in_every_application_from_its_beginning(self, start: StartApp) -> None:
        for _ in range(3):
            api = (await start(notes())).api(Notes)
            await api.label(N, labels=("a",))

            assert await found(api.cheat) == 1

    @pytest.mark.parametrize("name", ["cheat", "cheat_in_a_query"])
    @pytest.mark.usefixtures("every_third")
    async def test_is_found_though_many_use_cases_were_refused_and_not_checked(
        self, start: StartApp, name: str
    ) -> None:
        api = (await start(notes())).api(Notes)
        await api.label(N, labels=("a",))
        for _ in range(4):
            for refuse in (api.refuse, api.refuse_to_look):
                with pytest.raises(Blank):
                    await refuse(N)

        assert await found(getattr(api, name)) == 1

    async def test_is_not_seen_in_an_apply_that_reads_the_version(self, api: Notes, start: StartApp) -> None:
        await api.label(N, labels=("a", "b"))
        await api.label(N, labels=("c", "d"))

        assert await api.versions(N) == (0, 1, 2, 3)
        other = (await start(notes())).api(Notes)
        assert await other.versions(N) == (0, 1, 2, 3)

    async def test_is_not_seen_where_the_state_it_was_decided_on_never_came_true(
        self, start: StartApp, gate: Gate, other: Bank
    ) -> None:
        """Another process was faster with a version of the same number; it is a conflict like any other."""
        app = await start(bank(gate), copied_calls=True)
        api = app.api(Bank)
        account = await api.open("Ann", "ann@example.org")
        async with app.running["bank"]._committer.paused():
            doomed = asyncio.create_task(api.deposit(account, 1))
            while not app.running["bank"]._committer._queue:
                await asyncio.sleep(0)
            gate.shut()
            built_on_it = asyncio.create_task(api.deposit(account, 10))
            await gate.reached.wait()
            doomed.cancel()
            await asyncio.gather(doomed, return_exceptions=True)
            await other.deposit(account, 100)
        await api.top_up(account, 0)
        gate.open()

        assert await built_on_it == 110


class TestAStateThatNoSnapshotCouldHold:
    @pytest.mark.parametrize(
        ("label", "problem"),
        [
            ("inf", r"the state of note-note-0 can't be written.* - at `\$.ratio`"),
            ("nan", r"Note.ratio is nan, which isn't equal to itself"),
            ("nans", r"Note.ratios is \(nan,\), which isn't equal to itself"),
            ("shade", r"Note.shade is .*Shade.* isn't equal to itself .* give its type an __eq__"),
            ("odd", r"Note.odd is .*Unencodable.* isn't equal to itself"),
        ],
    )
    async def test_is_refused_with_the_first_change_that_makes_it(
        self, api: Notes, app: App, label: str, problem: str
    ) -> None:
        with pytest.raises(NotStorable, match=problem):
            await api.label(N, labels=(label,))

        assert await app.running["notes"].store.head() == 0

    @pytest.mark.parametrize("label", ["inf", "nan", "nans", "shade", "odd"])
    async def test_does_not_stop_an_aggregate_whose_events_made_it_before_it_was_checked(
        self, app: App, api: Notes, start: StartApp, label: str
    ) -> None:
        await has_been_said(app, "a", label)

        for again in ("b", label, "c", "d"):
            await api.label(N, labels=(again,))

        labels = ("a", label, "b", label, "c", "d")
        assert await api.labels(N) == labels
        assert await (await start(notes(), copied_calls=True)).api(Notes).labels(N) == labels

    async def test_hides_no_change_outside_of_apply(self, app: App, api: Notes) -> None:
        await has_been_said(app, "nan", "shade")

        assert await found(api.cheat) == 1

    @pytest.mark.parametrize("label", ["inf", "nan", "nans", "shade", "odd"])
    @pytest.mark.usefixtures("every_third")
    async def test_is_accepted_without_a_snapshot_when_it_was_not_checked(self, start: StartApp, label: str) -> None:
        api = (await start(notes())).api(Notes)
        for number in (1, 2, 3):
            await api.label(NoteId(f"note-{number}"), labels=("a",))

        await api.label(N, labels=("a", label, "b"))

        assert await api.labels(N) == ("a", label, "b")
