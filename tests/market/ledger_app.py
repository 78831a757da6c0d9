"""The ledger by itself, open to everybody: what tests of the machinery run as a process of its own."""

from craton.runtime import App
from market.ledger.module import ledger

app = App("market", modules=[ledger])
