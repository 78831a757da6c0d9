"""The market under a name of its own, so that the demo touches nobody's data."""

from craton.runtime import App
from market.identity.api import Identity
from market.modules import MODULES

app = App("market_demo", modules=MODULES, authenticate=Identity.authenticate)
