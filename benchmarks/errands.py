"""The saga that the benchmarks run: four steps one after the other, each of which writes an event in another module."""

import asyncio
from collections import defaultdict

from craton.application import Api, Module, Repository, Saga, Sagas, command, step
from craton.domain import Aggregate, Event, Id


class ErrandId(Id):
    pass


class NoteId(Id):
    pattern = r"[0-9a-f-]{36}/[1-4]"


class Noted(Event):
    number: int


class Note(Aggregate[NoteId]):
    number: int

    def apply(self, event: Noted) -> None:
        self.number = event.number


class Notes(Api):
    @command
    async def write(self, errand: ErrandId, number: int) -> None:
        """Write one of an errand's notes."""


class Finished:
    """Wakes the callers that wait for an errand's last note."""

    def __init__(self) -> None:
        self._errands: dict[ErrandId, asyncio.Event] = defaultdict(asyncio.Event)

    def note(self, errand: ErrandId) -> None:
        self._errands[errand].set()

    async def of(self, errand: ErrandId) -> None:
        await self._errands[errand].wait()
        del self._errands[errand]


class NotesService(Notes):
    def __init__(self, notes: Repository[Note]) -> None:
        self._notes = notes

    async def write(self, errand: ErrandId, number: int) -> None:
        self._notes.add(Note.begin(NoteId(f"{errand}/{number}"), Noted(number=number)))


class Errands(Api):
    @command
    async def begin(self) -> ErrandId:
        """Begin an errand."""


class Errand(Saga):
    errand: ErrandId

    @step
    async def first(self, notes: Notes) -> None:
        await notes.write(self.errand, 1)

    @step(after=first)
    async def second(self, notes: Notes) -> None:
        await notes.write(self.errand, 2)

    @step(after=second)
    async def third(self, notes: Notes) -> None:
        await notes.write(self.errand, 3)

    @step(after=third)
    async def fourth(self, notes: Notes, finished: Finished) -> None:
        await notes.write(self.errand, 4)
        finished.note(self.errand)


class ErrandsService(Errands):
    def __init__(self, errands: Sagas[Errand]) -> None:
        self._errands = errands

    async def begin(self) -> ErrandId:
        errand = ErrandId.new()
        self._errands.start(Errand(errand=errand), id=errand)
        return errand


def modules(finished: Finished) -> list[Module]:
    return [
        Module("notes", api=Notes, service=NotesService),
        Module("errands", api=Errands, service=ErrandsService, sagas=[Errand], provides={Finished: finished}),
    ]
