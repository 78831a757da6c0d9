"""Mistakes that a new author makes are said, and nothing of them is committed."""

import asyncio
import gc
import time
import warnings

import pytest
from structlog.testing import capture_logs

from craton.application import Api, MisuseError, Module, Repository, command, query
from craton.domain import Aggregate, Event, Id
from craton.runtime import App
from craton.runtime.process.watchdog import watched
from tests.conftest import Place


class NoteId(Id):
    pass


class Written(Event):
    text: str


class Note(Aggregate[NoteId]):
    texts: tuple[str, ...] = ()

    def apply(self, event: Written) -> None:
        self.texts = (*self.texts, event.text)


class Notes(Api):
    @command
    async def forget(self, note: NoteId) -> None:
        """Begin a note, and forget to add it."""

    @command
    async def begin_twice(self, note: NoteId) -> None:
        """Add a note, and write to another object of the same id."""

    @command
    async def begin(self, note: NoteId) -> None:
        """Begin a note."""

    @command
    async def plan(self, note: NoteId) -> None:
        """Make a note that nothing is recorded of."""

    @query
    async def count(self, note: NoteId) -> int:
        """How many texts there are."""


class NotesService(Notes):
    def __init__(self, notes: Repository[Note]) -> None:
        self._notes = notes

    async def forget(self, note: NoteId) -> None:
        Note.begin(note, Written(text="lost"))

    async def begin_twice(self, note: NoteId) -> None:
        self._notes.add(Note.begin(note, Written(text="kept")))
        Note(note).record(Written(text="lost"))

    async def begin(self, note: NoteId) -> None:
        self._notes.add(Note.begin(note, Written(text="kept")))

    async def plan(self, note: NoteId) -> None:
        Note(note)

    async def count(self, note: NoteId) -> int:
        found = await self._notes.find(note)
        return 0 if found is None else len(found.texts)


@pytest.fixture
def notes() -> Module:
    return Module("notes", api=Notes, service=NotesService)


class TestAnAggregateThatIsGivenToNoRepository:
    @pytest.mark.parametrize("mistake", ["forget", "begin_twice"])
    async def test_is_refused_when_it_has_recorded_something(self, place: Place, notes: Module, mistake: str) -> None:
        async with App("notes", modules=[notes]).run(place) as app:
            note = NoteId.new()

            with pytest.raises(MisuseError, match=rf"Notes\.{mistake}: a Note has recorded Written"):
                await getattr(app.api(Notes), mistake)(note)

            assert await app.api(Notes).count(note) == 0

    async def test_is_no_mistake_when_it_has_recorded_nothing(self, place: Place, notes: Module) -> None:
        async with App("notes", modules=[notes]).run(place) as app:
            await app.api(Notes).plan(NoteId.new())

    async def test_is_one_of_its_own_use_case_only(self, place: Place, notes: Module) -> None:
        async with App("notes", modules=[notes]).run(place) as app:
            api, ids = app.api(Notes), [NoteId.new() for _ in range(10)]

            answers = await asyncio.gather(
                *(api.begin(id) for id in ids), *(api.forget(id) for id in ids), return_exceptions=True
            )

            assert [type(answer) for answer in answers] == [type(None)] * 10 + [MisuseError] * 10


async def test_a_call_that_is_not_awaited_is_named(place: Place, notes: Module) -> None:
    async with App("notes", modules=[notes]).run(place) as app:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            app.api(Notes).begin(NoteId.new())  # type: ignore[unused-coroutine]
            gc.collect()

    assert [str(warning.message) for warning in told] == ["coroutine 'Notes.begin' was never awaited"]


def _dawdle(seconds: float) -> None:
    time.sleep(seconds)


class TestTheWatchdog:
    async def test_says_which_function_blocks_the_loop_once(self) -> None:
        with capture_logs() as logs:
            async with watched(0.05):
                await asyncio.sleep(0)
                _dawdle(1)
                await asyncio.sleep(0.2)

        blocked = [line for line in logs if "is blocked" in line["event"]]
        assert [line["where"].rpartition(" in ")[2] for line in blocked] == ["_dawdle"]
        assert "test_mistakes.py:" in blocked[0]["where"]

    async def test_says_nothing_of_a_function_that_awaits(self) -> None:
        with capture_logs() as logs:
            async with watched(30):
                await asyncio.sleep(0.1)

        assert logs == []
