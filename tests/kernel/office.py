"""A travel agency's back office: an app with sagas, and what its tests ask of it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from craton.application import (
    Api,
    AuditEvent,
    CommandKey,
    Context,
    Module,
    Paging,
    Retry,
    Saga,
    Sagas,
    command,
    seconds,
    step,
)
from craton.application.api import OperationDefinition, operation_of
from craton.application.sagas.events import SagaId
from craton.application.sagas.state import Status, StepStatus
from craton.domain import DomainError, Text
from craton.runtime import App
from craton.runtime.commands.results import Answer
from craton.runtime.sagas.control import SagaControl
from craton.runtime.sagas.directory import call_sagas
from craton.runtime.sagas.view import SagaView, StepView
from tests.conftest import Place
from tests.kernel.travel import Agency, BookingId, Desk, TripId, Weather, desk, unavailable

ADA = Context(actor="ada", tenant="acme", correlation="letter-1")
"""Who begins the sagas, and where, and in which conversation."""
QUICK = Retry(attempts=3, pause=timedelta(milliseconds=10))
HOUR = timedelta(hours=1)
AT_REST = (Status.COMPLETED, Status.COMPENSATED, Status.STUCK, Status.RESOLVED)


class Line(App):
    """An app that reaches the desk over a line of which the weather decides."""

    async def call(self, operation: OperationDefinition, arguments: dict[str, Any], context: Context) -> Answer:
        weather: Weather = self.modules["desk"].provides[Weather]
        name = {"book": "{what}", "cancel": "undo {what}"}.get(operation.name, operation.name).format(**arguments)
        if _took_one(weather.cut, name):
            raise unavailable()
        try:
            answer = await super().call(operation, arguments, context)
        except DomainError:
            if _took_one(weather.lost, name):
                raise unavailable(ran=True) from None
            raise
        if _took_one(weather.lost, name):
            raise unavailable(ran=True)
        return answer


def _took_one(left: Counter[str], name: str) -> bool:
    left[name] -= 1
    return left[name] >= 0


# --- a module for sagas of any kind ----------------------------------------------------------------------------------


class Tours(Api):
    @command
    async def begin(self, trip: TripId, *, on_second_thoughts: bool = False) -> TripId:
        """Begin a saga, or fail after that."""


def tours(kind: type[Saga], **options: Any) -> Module:
    """A module with sagas of one kind, whose only argument is `trip`."""

    class Service(Tours):
        def __init__(self, sagas: Sagas[kind]) -> None:  # type: ignore[valid-type]
            self._sagas: Sagas[Any] = sagas

        async def begin(self, trip: TripId, *, on_second_thoughts: bool = False) -> TripId:
            fields: dict[str, Any] = {"trip": trip}
            self._sagas.start(kind(**fields), id=trip)
            if on_second_thoughts:
                raise RuntimeError("the use case fails after all")
            return trip

    return Module("tours", api=Tours, service=Service, sagas=[kind], **options)


class Expedition(Saga):
    """To the base, then left and right side by side, then to the top, then home."""

    trip: TripId

    @step(retry=QUICK)
    async def base(self, desk: Desk) -> None:
        await desk.book(self.trip, "base")

    @base.undo(retry=QUICK)
    async def leave_base(self, desk: Desk) -> None:
        await desk.cancel(self.trip, "base")

    @step(after=base, retry=QUICK)
    async def left(self, desk: Desk) -> None:
        await desk.book(self.trip, "left")

    @left.undo(retry=QUICK)
    async def leave_left(self, desk: Desk) -> None:
        await desk.cancel(self.trip, "left")

    @step(after=base, retry=QUICK)
    async def right(self, desk: Desk) -> None:
        await desk.book(self.trip, "right")

    @right.undo(retry=QUICK)
    async def leave_right(self, desk: Desk) -> None:
        await desk.cancel(self.trip, "right")

    @step(after=(left, right), retry=QUICK)
    async def top(self, desk: Desk) -> None:
        await desk.book(self.trip, "top")

    @top.undo(retry=QUICK)
    async def leave_top(self, desk: Desk) -> None:
        await desk.cancel(self.trip, "top")

    @step(after=top, retry=QUICK)
    async def home(self, desk: Desk) -> None:
        await desk.book(self.trip, "home")

    @home.undo(retry=QUICK)
    async def leave_home(self, desk: Desk) -> None:
        await desk.cancel(self.trip, "home")


class Passage(Saga):
    """A cabin, then there is no way back, then a postcard."""

    trip: TripId

    @step(retry=QUICK)
    async def cabin(self, desk: Desk) -> None:
        await desk.book(self.trip, "cabin")

    @cabin.undo(retry=QUICK)
    async def cancel_cabin(self, desk: Desk) -> None:
        await desk.cancel(self.trip, "cabin")

    @step(after=cabin, pivot=True, retry=QUICK, timeout=seconds(2))
    async def sail(self, desk: Desk) -> None:
        await desk.book(self.trip, "sail")

    @step(after=sail, retry=QUICK, timeout=seconds(2))
    async def postcard(self, desk: Desk) -> None:
        await desk.book(self.trip, "postcard")


class Farewell(Saga):
    """Past the pivot a step with two commands, and one that follows it."""

    trip: TripId
    letters: int = 0

    @step(pivot=True, retry=QUICK)
    async def leave(self, desk: Desk) -> None:
        await desk.book(self.trip, "leave")

    @step(after=leave, retry=QUICK)
    async def write(self, desk: Desk) -> None:
        await desk.book(self.trip, "paper")
        await desk.book(self.trip, "stamp")
        self.letters += 1

    @step(after=write, retry=QUICK)
    async def wave(self, desk: Desk) -> None:
        await desk.book(self.trip, "wave")


class Crossing(Saga):
    """A train, then a ferry that is asked for again only after an hour, then a hike."""

    trip: TripId

    @step(retry=QUICK)
    async def train(self, desk: Desk) -> None:
        await desk.book(self.trip, "train")

    @train.undo(retry=QUICK)
    async def cancel_train(self, desk: Desk) -> None:
        await desk.cancel(self.trip, "train")

    @step(after=train, retry=Retry(attempts=3, pause=HOUR, longest_pause=HOUR), timeout=5 * HOUR)
    async def ferry(self, desk: Desk) -> None:
        await desk.book(self.trip, "ferry")

    @ferry.undo(retry=QUICK)
    async def cancel_ferry(self, desk: Desk) -> None:
        await desk.cancel(self.trip, "ferry")

    @step(after=ferry, retry=QUICK)
    async def hike(self, desk: Desk) -> None:
        await desk.book(self.trip, "hike")


# --- the office ------------------------------------------------------------------------------------------------------


class Office:
    def __init__(self, app: App, weather: Weather) -> None:
        self.app = app
        self.weather = weather
        self.desk = app.api(Desk)

    @property
    def agency(self) -> Agency:
        return self.app.api(Agency)

    async def begin(self, trip: TripId | None = None, **options: Any) -> TripId:
        """Begin a saga of the module `tours`."""
        operation = operation_of(Tours.begin)
        arguments = operation.bind((trip or TripId.new(),), options)
        began: TripId = (await self.app.call(operation, arguments, ADA)).result
        return began

    # --- how a saga stands ---

    async def saga(self, trip: TripId) -> SagaView:
        view: SagaView = await self.order(SagaControl.saga, trip)
        return view

    async def at_rest(self, trip: TripId, status: Status) -> SagaView:
        """Wait until nothing more happens by itself; how it stands then must be as expected."""
        while (saga := await self.saga(trip)).status not in AT_REST:
            await asyncio.sleep(0.005)
        assert saga.status is status, (saga.reason, saga.note, [(s.name, s.status, s.error) for s in saga.steps])
        return saga

    async def reached(self, trip: TripId, name: str, *statuses: StepStatus) -> StepView:
        """Wait until a step stands so."""
        while (found := self.step(await self.saga(trip), name)).status not in statuses:
            await asyncio.sleep(0.005)
        return found

    async def attempted(self, trip: TripId, name: str, *, undone: int = 0, done: int = 0) -> None:
        """Wait until it is recorded that a step was tried, or was tried to be undone, so often."""
        while True:
            step = self.step(await self.saga(trip), name)
            if step.attempts >= done and step.undo_attempts >= undone:
                return
            await asyncio.sleep(0.005)

    async def was_told(self, reader: str) -> None:
        """Wait until a policy, or a step that waits, has read all that was recorded at the desk."""
        home, desk = self.app.running[reader.partition(".")[0]].store, self.app.running["desk"].store
        while await home.checkpoint(f"{reader}@desk") < await desk.head():
            await asyncio.sleep(0.005)

    async def recorded(self, trip: TripId, kind: str) -> tuple[str | None, dict[str, Any]]:
        """The one event of a kind: who caused it, and what it says."""
        (event,) = [event for event in await self.history(trip) if event.type == kind]
        return event.metadata.actor, event.data

    @staticmethod
    def step(saga: SagaView, name: str) -> StepView:
        (found,) = (step for step in saga.steps if step.name == name)
        return found

    async def history(self, trip: TripId) -> list[AuditEvent]:
        """All that has happened to a saga, oldest first."""
        newest_first = await self.order(SagaControl.events, trip, paging=Paging(1, 100))
        return list(reversed(newest_first.items))

    async def happened(self, trip: TripId, kind: str) -> list[str]:
        """The steps to which something has happened, in that order."""
        return [str(event.data["step"]) for event in await self.history(trip) if event.type == kind]

    # --- orders ---

    async def order(self, verb: Any, trip: TripId, **arguments: Any) -> Any:
        """Ask after a saga, or do something to it, as an operator would."""
        operation = operation_of(verb)
        if "reason" in arguments:
            arguments["reason"] = Text(arguments["reason"])
        bound = operation.bind((), {"saga": SagaId(trip), **arguments})
        return (await call_sagas(self.app.running, operation, bound, Context(actor="olga"))).result

    # --- what was booked ---

    async def booked(self, trip: TripId, *things: str) -> dict[str, int]:
        return {what: await self.desk.bookings(trip, what) for what in things}

    async def book_under(self, key: str, trip: TripId, what: str) -> BookingId:
        """Book something as a step would whose command has this key."""
        operation = operation_of(Desk.book)
        context = Context(actor=ADA.actor, tenant=ADA.tenant, key=CommandKey(key))
        booked: BookingId = (await self.app.call(operation, operation.bind((trip, what), {}), context)).result
        return booked


@asynccontextmanager
async def opened(place: Place, weather: Weather, *modules: Module, **options: Any) -> AsyncIterator[Office]:
    """Run an app with the desk and other modules while the block lasts, as one process would."""
    app = Line("travel", modules=[desk(weather), *modules], copied_calls=True, **options)
    async with app.run(place, subscriptions=True):
        yield Office(app, weather)
