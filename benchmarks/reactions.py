"""A policy for the benchmarks: whenever a letter is received, a receipt is written, an event in another module."""

import asyncio

from craton.application import Api, Module, Policy, Repository, command
from craton.domain import Aggregate, Event, Id, Recorded


class LetterId(Id):
    pass


class ReceiptId(Id):
    pass


class LetterReceived(Event):
    number: int


class ReceiptWritten(Event):
    number: int


class Letter(Aggregate[LetterId]):
    number: int

    def apply(self, event: LetterReceived) -> None:
        self.number = event.number


class Receipt(Aggregate[ReceiptId]):
    number: int

    def apply(self, event: ReceiptWritten) -> None:
        self.number = event.number


class Letters(Api):
    @command
    async def receive(self, number: int) -> LetterId:
        """Receive a letter."""


class Receipts(Api):
    @command
    async def write(self, letter: LetterId, number: int) -> None:
        """Write the receipt of a letter."""


class Written:
    """Counts the receipts that are durable, and wakes those that wait for one."""

    def __init__(self) -> None:
        self.count = 0
        self._waiting: dict[int, asyncio.Event] = {}

    def note(self, number: int) -> None:
        self.count += 1
        if number in self._waiting:
            self._waiting[number].set()

    async def of(self, number: int) -> None:
        event = self._waiting[number] = asyncio.Event()
        await event.wait()
        del self._waiting[number]


class LettersService(Letters):
    def __init__(self, letters: Repository[Letter]) -> None:
        self._letters = letters

    async def receive(self, number: int) -> LetterId:
        letter = Letter.begin(LetterId.new(), LetterReceived(number=number))
        self._letters.add(letter)
        return letter.id


class ReceiptsService(Receipts):
    def __init__(self, receipts: Repository[Receipt]) -> None:
        self._receipts = receipts

    async def write(self, letter: LetterId, number: int) -> None:
        self._receipts.add(Receipt.begin(ReceiptId(letter), ReceiptWritten(number=number)))


class WriteReceipt(Policy):
    """Whenever a letter is received, its receipt is written."""

    async def react(self, event: Recorded[LetterReceived], receipts: Receipts, written: Written) -> None:
        await receipts.write(LetterId(event.subject), event.data.number)
        written.note(event.data.number)


def modules(written: Written) -> list[Module]:
    return [
        Module("letters", api=Letters, service=LettersService),
        Module("receipts", api=Receipts, service=ReceiptsService, policies=[WriteReceipt], provides={Written: written}),
    ]
