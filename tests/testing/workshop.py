"""A workshop and its courier: what the test kit is tested with."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from craton.application import (
    Api,
    Caller,
    Key,
    Module,
    Policy,
    Projection,
    Repository,
    Retry,
    Routes,
    Row,
    Saga,
    Sagas,
    Settings,
    Unavailable,
    View,
    command,
    context,
    get,
    minutes,
    now,
    only,
    permit,
    post,
    public,
    put,
    query,
    schedule,
    step,
    wait_for,
)
from craton.domain import Aggregate, Conflict, Event, Id, InvalidValue, Recorded, Unauthenticated
from craton.runtime import App

# --- repairs ---------------------------------------------------------------------------------------------------------


class RepairId(Id):
    """A UUID."""


class Brought(Event):
    owner: str


class Repaired(Event):
    pass


class Reminded(Event):
    pass


class Warned(Event):
    pass


class BlankOwner(InvalidValue):
    """A repair needs an owner."""


class AlreadyRepaired(Conflict):
    """It is repaired already."""

    owner: str
    reminders: int


class Repair(Aggregate[RepairId]):
    owner: str = ""
    done: bool = False
    reminders: int = 0

    @classmethod
    def bring(cls, id: RepairId, owner: str) -> "Repair":
        if not owner:
            raise BlankOwner()
        return cls.begin(id, Brought(owner=owner))

    def finish(self) -> None:
        if self.done:
            raise AlreadyRepaired(owner=self.owner, reminders=self.reminders)
        self.record(Repaired())

    def remind(self) -> None:
        if not self.done:
            self.record(Reminded())

    def warn(self) -> None:
        self.record(Warned())

    def apply(self, event: Brought | Repaired | Reminded | Warned) -> None:
        match event:
            case Brought():
                self.owner = event.owner
            case Repaired():
                self.done = True
            case Reminded():
                self.reminders += 1


class RepairRow(Row):
    id: Key[RepairId]
    owner: str
    done: bool
    reminders: int


class Repairs(Projection):
    def row(self, repair: Repair, event: Recorded[Event]) -> RepairRow:
        return RepairRow(id=repair.id, owner=repair.owner, done=repair.done, reminders=repair.reminders)


class Messages(Protocol):
    """Tells owners something."""

    async def send(self, text: str) -> None: ...


class Notes:
    """Keeps the messages; `may_send` holds them up."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.may_send = asyncio.Event()
        self.may_send.set()

    async def send(self, text: str) -> None:
        await self.may_send.wait()
        self.texts.append(text)


class NoMessages:
    """The adapter of the module itself, which the tests replace."""

    async def send(self, text: str) -> None:
        raise Unavailable("there is no network in a test", maybe_executed=False)


class WorkshopSettings(Settings):
    reminder_minutes: int = 60


class Workshop(Api):
    @command
    async def bring(self, owner: str) -> RepairId:
        """Bring something; its workshop is reminded of it after a while."""

    @command
    async def finish(self, repair: RepairId) -> None:
        """Repair it."""

    @command
    async def remind(self, repair: RepairId) -> None:
        """Remind the workshop."""

    @command
    async def warn(self, repair: RepairId, days: int) -> None:
        """Warn the workshop today, and on so many days to come."""

    @query
    async def repair(self, repair: RepairId) -> RepairRow:
        """What is known of a repair, for its owner and for masters."""

    @query
    async def count(self) -> int:
        """How many repairs there are."""

    @query
    async def caller(self) -> str:
        """How the workshop sees its caller."""

    @query
    async def authenticate(self, token: str) -> Caller:
        """Which caller has a token: its name and its role, with a hyphen between them."""


class WorkshopService(Workshop):
    def __init__(self, repairs: Repository[Repair], rows: View[RepairRow], settings: WorkshopSettings) -> None:
        self._repairs, self._rows, self._settings = repairs, rows, settings

    async def bring(self, owner: str) -> RepairId:
        repair = Repair.bring(RepairId.new(), owner)
        self._repairs.add(repair)
        schedule(now() + minutes(self._settings.reminder_minutes), Workshop.remind, repair=repair.id)
        return repair.id

    async def finish(self, repair: RepairId) -> None:
        (await self._repairs.get(repair)).finish()

    async def remind(self, repair: RepairId) -> None:
        (await self._repairs.get(repair)).remind()

    async def warn(self, repair: RepairId, days: int) -> None:
        (await self._repairs.get(repair)).warn()
        if days:
            schedule(now() + timedelta(days=1), Workshop.warn, repair=repair, days=days - 1)

    async def repair(self, repair: RepairId) -> RepairRow:
        row = await self._rows.get(repair)
        permit(row.owner, "master")
        return row

    async def count(self) -> int:
        return (await self._rows.page()).total

    async def caller(self) -> str:
        caller, actor = context().caller, context().actor
        return f"{actor}, within" if caller is None else f"{actor}, {caller.id}: {', '.join(sorted(caller.roles))}"

    async def authenticate(self, token: str) -> Caller:
        name, hyphen, role = token.partition("-")
        if not hyphen:
            raise Unauthenticated()
        return Caller(name, frozenset({role}))


class Announce(Policy):
    """Whenever something is repaired, tell its owner."""

    async def react(self, event: Recorded[Repaired], messages: Messages) -> None:
        await messages.send(f"{event.subject} is repaired")


async def echo(request: Request) -> Response:
    """Answer with the name and the body, and in headers with the query and two headers of the request."""
    said, kind = request.headers.get("x-said", ""), request.headers.get("content-type", "")
    body = request.path_params["name"].encode() + await request.body()
    return Response(body, 200, {"X-Echo": said, "X-Type": kind, "X-Query": request.url.query})


async def stream(request: Request) -> Response:
    """Answer in parts."""

    async def parts() -> AsyncIterator[bytes]:
        for part in (b"one ", b"two ", b"three"):
            yield part

    return StreamingResponse(parts())


workshop = Module(
    "workshop",
    api=Workshop,
    service=WorkshopService,
    projections=[Repairs],
    policies=[Announce],
    settings=WorkshopSettings,
    provides={Messages: NoMessages()},
    routes=Routes(
        post("/repairs", Workshop.bring, status=201, location="/repairs/{id}", access=only("master")),
        get("/repairs/{repair}", Workshop.repair),
        put("/echo/{name}", echo, access=public),
        get("/stream", stream, access=public),
    ),
)


# --- a courier who collects what is repaired -------------------------------------------------------------------------


class Road(Protocol):
    """The way to the workshop."""

    async def ride(self) -> None: ...


class OpenRoad:
    """A road on which each ride is held up, or fails so often, as the test says."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.rides = 0
        self.is_free = asyncio.Event()
        self.is_free.set()

    async def ride(self) -> None:
        self.rides += 1
        await self.is_free.wait()
        if self.rides <= self.failures:
            raise Unavailable("the road is closed", maybe_executed=False)


class Collection(Saga):
    """Ride to the workshop, wait for the repair, and ride back."""

    repair: RepairId

    @step(retry=Retry(pause=minutes(10)))
    async def go(self, road: Road) -> None:
        await road.ride()

    @wait_for(lambda event: event.subject, after=go, timeout=minutes(600))
    async def repaired(self, event: Recorded[Repaired]) -> None:
        """It is repaired."""

    @step(after=repaired)
    async def return_(self, road: Road) -> None:
        await road.ride()


class Courier(Api):
    @command
    async def collect(self, repair: RepairId) -> None:
        """Have something collected when it is repaired."""


class CourierService(Courier):
    def __init__(self, collections: Sagas[Collection]) -> None:
        self._collections = collections

    async def collect(self, repair: RepairId) -> None:
        self._collections.start(Collection(repair=repair), id=repair)


courier = Module("courier", api=Courier, service=CourierService, sagas=[Collection], provides={Road: OpenRoad()})

app = App("workshops", modules=[workshop, courier], authenticate=Workshop.authenticate)


# --- a module that does nothing in the background ---------------------------------------------------------------------


class Idle(Api):
    @query
    async def nothing(self) -> None:
        """Nothing."""


class IdleService(Idle):
    async def nothing(self) -> None:
        return None


idle = Module("idle", api=Idle, service=IdleService)
