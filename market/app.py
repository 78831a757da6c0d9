"""The composition root of the market."""

from craton.runtime import App
from market.demo.story import tell
from market.demo_data import fill
from market.identity.api import Identity
from market.modules import MODULES

app = App("market", modules=MODULES, authenticate=Identity.authenticate, fill=fill, demo=tell)
