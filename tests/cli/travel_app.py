"""An application whose sagas the command line looks after, and its next version, in which they have a step more."""

from craton.application import step
from craton.runtime import App
from tests.kernel import office
from tests.kernel.office import tours
from tests.kernel.travel import Desk, Weather, desk

app = App("travel", modules=[desk(Weather()), tours(office.Expedition)])


class Expedition(office.Expedition):
    @step(after=office.Expedition.home)
    async def feast(self, desk: Desk) -> None:
        await desk.book(self.trip, "feast")


newer = App("travel", modules=[desk(Weather()), tours(Expedition)])
