"""An application whose sagas the command line looks after."""

from craton.runtime import App
from tests.kernel.office import Expedition, tours
from tests.kernel.travel import Weather, desk

app = App("travel", modules=[desk(Weather()), tours(Expedition)])
