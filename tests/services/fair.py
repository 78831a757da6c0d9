"""A fair: a till in one service, and a kiosk in another that calls it and hears of its payments."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

from msgspec.structs import replace

from craton.adapters.http import listen_at, serving_beside
from craton.adapters.services import Peers, ServicesServer
from craton.adapters.services.identity import named, naming
from craton.adapters.services.server import Identify
from craton.adapters.sqlite import SqliteStore
from craton.application import (
    Api,
    CommandKey,
    Context,
    Key,
    Module,
    Policy,
    Projection,
    Repository,
    Row,
    Rows,
    View,
    command,
    context,
    query,
)
from craton.application.api import operation_of
from craton.domain import Aggregate, AggregateNotFound, Conflict, Event, Id, Recorded, world
from craton.runtime import App
from craton.runtime.commands.results import Answer
from craton.runtime.topology import Address, Topology
from craton.runtime.topology.links import links

# --- the till --------------------------------------------------------------------------------------------------------


class PurseId(Id):
    pattern = r"[a-z]+"
    example = "ada"


class PurseFilled(Event):
    amount: int


class Paid(Event):
    amount: int
    left: int


class Counted(Event):
    """An event that no other module reacts to."""


class TooLittle(Conflict):
    """There is too little in the purse."""

    purse: PurseId
    left: int


class PurseNotFound(AggregateNotFound):
    """There is no such purse."""


class Purse(Aggregate[PurseId]):
    not_found = PurseNotFound
    left: int = 0

    @classmethod
    def fill(cls, id: PurseId, amount: int) -> Self:
        return cls.begin(id, PurseFilled(amount=amount))

    def pay(self, amount: int) -> None:
        if amount > self.left:
            raise TooLittle(purse=self.id, left=self.left)
        self.record(Paid(amount=amount, left=self.left - amount))

    def count(self) -> None:
        self.record(Counted())

    def apply(self, event: PurseFilled | Paid | Counted) -> None:
        match event:
            case PurseFilled(amount=amount):
                self.left += amount
            case Paid(left=left):
                self.left = left
            case Counted():
                pass


class Till(Api):
    @command
    async def fill(self, purse: PurseId, amount: int) -> None:
        """Make a purse."""

    @command
    async def pay(self, purse: PurseId, amount: int = 1) -> int:
        """Pay; return what is left."""

    @command
    async def count(self, purse: PurseId) -> None:
        """Record an event that nobody hears of."""

    @command
    async def stumble(self) -> None:
        """Fail, because of a mistake in the code."""

    @query
    async def left(self, purse: PurseId) -> int:
        """What is left in a purse."""

    @query
    async def wait(self, seconds: float) -> float:
        """Wait; return how long the caller would have waited, in seconds."""


class TillService(Till):
    def __init__(self, purses: Repository[Purse]) -> None:
        self._purses = purses

    async def fill(self, purse: PurseId, amount: int) -> None:
        self._purses.add(Purse.fill(purse, amount))

    async def pay(self, purse: PurseId, amount: int = 1) -> int:
        found = await self._purses.get(purse)
        found.pay(amount)
        return found.left

    async def count(self, purse: PurseId) -> None:
        (await self._purses.get(purse)).count()

    async def stumble(self) -> None:
        raise ZeroDivisionError("a secret of the till")

    async def left(self, purse: PurseId) -> int:
        return (await self._purses.get(purse)).left

    async def wait(self, seconds: float) -> float:
        left = context().remaining() or 0.0
        await asyncio.sleep(seconds)
        return left


till = Module("till", api=Till, service=TillService)


# --- the kiosk -------------------------------------------------------------------------------------------------------


class Kiosk(Api):
    @query
    async def advice(self, purse: PurseId) -> str:
        """Whether to buy something."""

    @command
    async def sell(self, purse: PurseId) -> None:
        """Sell something, and be paid within the same unit of work, which isn't allowed."""

    @command
    async def note(self, purse: PurseId, amount: int) -> None:
        """Note a payment."""

    @query
    async def noted(self, purse: PurseId) -> int:
        """The sum of the payments of a purse that were noted."""

    @query
    async def shown(self, purse: PurseId) -> int:
        """The sum of the payments of a purse, by the read model."""


class Noted(Event):
    amount: int


class Book(Aggregate[PurseId]):
    sum: int = 0

    @classmethod
    def open(cls, id: PurseId, amount: int) -> Self:
        return cls.begin(id, Noted(amount=amount))

    def note(self, amount: int) -> None:
        self.record(Noted(amount=amount))

    def apply(self, event: Noted) -> None:
        self.sum += event.amount


class PaidRow(Row):
    purse: Key[str]
    sum: int


class KioskService(Kiosk):
    def __init__(self, books: Repository[Book], till: Till, paid: View[PaidRow]) -> None:
        self._books = books
        self._till = till
        self._paid = paid

    async def advice(self, purse: PurseId) -> str:
        return "buy" if await self._till.left(purse) else "save"

    async def sell(self, purse: PurseId) -> None:
        await self._till.pay(purse, 1)

    async def note(self, purse: PurseId, amount: int) -> None:
        book = await self._books.find(purse)
        if book is None:
            self._books.add(Book.open(purse, amount))
        else:
            book.note(amount)

    async def noted(self, purse: PurseId) -> int:
        book = await self._books.find(purse)
        return 0 if book is None else book.sum

    async def shown(self, purse: PurseId) -> int:
        row = await self._paid.find(purse)
        return 0 if row is None else row.sum


class NotePayments(Policy):
    async def react(self, event: Recorded[Paid], kiosk: Kiosk) -> None:
        await kiosk.note(PurseId(event.subject), event.data.amount)


class PaidSums(Projection):
    paid: Rows[PaidRow]

    def project(self, event: Recorded[Paid]) -> None:
        amount = event.data.amount
        self.paid.put_new(PaidRow(purse=event.subject, sum=0))
        self.paid.fold(event.subject, by=lambda row: replace(row, sum=row.sum + amount))


kiosk = Module("kiosk", api=Kiosk, service=KioskService, policies=[NotePayments], projections=[PaidSums])


# --- two services ----------------------------------------------------------------------------------------------------

FAIR: Final = App("fair", modules=[till, kiosk], environment={})
TOPOLOGY: Final = Topology.of({"money": ["till"], "street": ["kiosk"]}).placed(FAIR.wiring.modules)


def reached_at(*sockets: Path) -> dict[str, list[Address]]:
    """Where the till is found, by way of sockets."""
    return {"money": [Address(f"unix://{socket}") for socket in sockets], "street": []}


class Fair:
    """The till as a service, and callers in the other one."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self._stack = stack

    async def open_till(
        self, socket: str = "till", *, identify: Identify = named, app: App = FAIR, runs: bool = True
    ) -> ServicesServer:
        """Serve the till at a socket. `runs`: its store isn't open here yet."""
        part = app.part(["till"], self.peers())
        if runs:
            await self._stack.enter_async_context(part.run(self.store))
            self.till = part
        else:
            part = self.till
        server = ServicesServer(part, links(app.wiring, TOPOLOGY, frozenset()), identify, trusted="craton")
        listening = self._stack.enter_context(listen_at(self.folder / socket))
        await self._stack.enter_async_context(serving_beside(server, listening))
        self._stack.callback(server.stop)
        return server

    @asynccontextmanager
    async def kiosk(self, *sockets: str) -> AsyncIterator[App]:
        """Run the kiosk, which reaches the till at these sockets."""
        async with closing(self.peers(*sockets)) as peers, FAIR.part(["kiosk"], peers).run(self.store) as part:
            yield part

    def peers(self, *sockets: str, name: str = "street") -> Peers:
        at = [self.folder / socket for socket in sockets or ("till",)]
        return Peers(name, reached_at(*at), {"till": "money", "kiosk": "street"}, naming(name))

    def caller(self, *sockets: str, name: str = "street") -> App:
        """The app as a service that runs none of these modules calls it."""
        peers = self.peers(*sockets, name=name)
        self._stack.push_async_callback(peers.close)
        return FAIR.part((), peers)

    def store(self, module: str) -> SqliteStore:
        return SqliteStore(self.folder / f"{module}.db", durable=False)


@asynccontextmanager
async def closing(peers: Peers) -> AsyncIterator[Peers]:
    try:
        yield peers
    finally:
        await peers.close()


async def call(app: App, method: Any, *arguments: Any, key: str = "", seconds: float | None = 20.0) -> Answer:
    """Call an operation as a caller of an app does."""
    operation = operation_of(method)
    context = Context(
        actor="ann",
        key=CommandKey(key) if key else None,
        deadline=None if seconds is None else world.monotonic() + seconds,
    )
    return await app.call(operation, operation.bind(arguments, {}), context)
