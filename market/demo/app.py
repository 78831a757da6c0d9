"""The market under another name, so that the demo doesn't touch any other data."""

from craton.runtime import App
from market.identity.api import Identity
from market.modules import MODULES

app = App("market_demo", modules=MODULES, authenticate=Identity.authenticate)
