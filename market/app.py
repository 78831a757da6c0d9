"""The composition root of the market."""

from craton.runtime import App
from market.demo import fill
from market.ledger.module import ledger

app = App("market", modules=[ledger], fill=fill)
