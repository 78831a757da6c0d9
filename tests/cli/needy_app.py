"""A ledger that can't be served without a setting."""

from copy import copy

from craton.application import Settings
from craton.runtime import App
from market.ledger.module import ledger
from tests.door.standing_open import Door, door, stands_open


class Needy(Settings):
    key: str


needy = copy(ledger)
needy.settings = Needy

app = App("market", modules=[needy, door], authenticate=Door.authenticate, middleware=[stands_open])
