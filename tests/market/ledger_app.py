"""The ledger by itself, open to everybody: what tests of the machinery run as a process of its own."""

from craton.runtime import App
from market.ledger.module import ledger
from tests.door.standing_open import Door, door, stands_open

app = App("market", modules=[ledger, door], authenticate=Door.authenticate, middleware=[stands_open])
