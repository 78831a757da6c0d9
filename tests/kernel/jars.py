"""Jars with coins in them: a module whose read models change from one version of the program to the next."""

from typing import Any

from msgspec.structs import replace

from craton.application import (
    Api,
    Key,
    Module,
    Projection,
    Repository,
    Row,
    Rows,
    Unique,
    View,
    command,
    transaction,
)
from craton.application.view import ViewSource
from craton.domain import Aggregate, Event, Id, Recorded
from craton.ports import Isolation
from craton.runtime import App
from craton.runtime.projections.projection import RunningProjection
from craton.testing import until


class JarId(Id):
    pass


class CoinPut(Event):
    amount: int


class JarLabelled(Event):
    label: str


class Jar(Aggregate[Id]):
    coins: int = 0
    label: str = ""

    def put(self, amount: int) -> None:
        self.record(CoinPut(amount=amount))

    def stick(self, label: str) -> None:
        self.record(JarLabelled(label=label))

    def apply(self, event: CoinPut | JarLabelled) -> None:
        match event:
            case CoinPut(amount=amount):
                self.coins += amount
            case JarLabelled(label=label):
                self.label = label


class JarRow(Row):
    jar: Key[JarId]
    coins: int = 0
    labels: int = 0


class Totals(Projection):
    """What is in each jar."""

    totals: Rows[JarRow]

    def project(self, event: Recorded[CoinPut]) -> None:
        self.totals.put_new(JarRow(jar=JarId(event.subject)))
        self.totals.fold(JarId(event.subject), by=lambda row: replace(row, coins=row.coins + event.data.amount))


class InlineTotals(Totals):
    name = "totals"
    inline = True


class TotalsWithLabels(Totals):
    """The same rows, made from more events."""

    name = "totals"

    def project(self, event: Recorded[CoinPut | JarLabelled]) -> None:
        id, fact = JarId(event.subject), event.data
        self.totals.put_new(JarRow(jar=id))
        match fact:
            case CoinPut(amount=amount):
                self.totals.fold(id, by=lambda row: replace(row, coins=row.coins + amount))
            case JarLabelled():
                self.totals.fold(id, by=lambda row: replace(row, labels=row.labels + 1))


class Sums(Totals):
    """The same projection under another name."""


class LabelRow(Row):
    jar: Key[JarId]
    label: Unique[str]


class Labels(Projection):
    """No two jars may have the same label."""

    labels: Rows[LabelRow]

    def project(self, event: Recorded[JarLabelled]) -> None:
        self.labels.put(LabelRow(jar=JarId(event.subject), label=event.data.label))


class InlineLabels(Labels):
    name = "labels"
    inline = True


class Jars(Api):
    @command
    async def put(self, jar: JarId, amount: int) -> None: ...

    @command
    async def put_in_transaction(self, jar: JarId, amount: int, isolation: Isolation) -> None: ...

    @command
    async def stick(self, jar: JarId, label: str) -> None: ...


class JarService(Jars):
    def __init__(self, jars: Repository[Jar]) -> None:
        self._jars = jars

    async def put(self, jar: JarId, amount: int) -> None:
        (await self._jars.find_or_add(jar)).put(amount)

    async def put_in_transaction(self, jar: JarId, amount: int, isolation: Isolation) -> None:
        async with transaction(isolation):
            (await self._jars.find_or_add(jar)).put(amount)

    async def stick(self, jar: JarId, label: str) -> None:
        (await self._jars.find_or_add(jar)).stick(label)


def jars(*projections: type[Projection], **parts: Any) -> Module:
    return Module("jars", api=Jars, service=JarService, projections=projections, **parts)


def runner(app: App, name: str) -> RunningProjection:
    return app.running["jars"].projections[name]


def view(app: App, name: str) -> View[Any]:
    """The rows of a projection, as a query of this process reads them."""
    (row_type,) = runner(app, name).definition.rows.values()
    return View(ViewSource(row_type, app.running["jars"].store, runner(app, name).view.generation))


async def coins(app: App, name: str = "totals") -> dict[JarId, int]:
    """What the view shows to this process now."""
    return {row.jar: row.coins for row in (await view(app, name).page()).items}


async def caught_up(app: App, name: str = "totals") -> None:
    """Wait until this program's generation is live and has every event."""

    async def up_to_date() -> bool:
        state = await runner(app, name).record.refresh()
        progress = await runner(app, name).progress()
        return runner(app, name).record.is_current(state.live) and not progress.building and not progress.lag

    await until(up_to_date)
