"""The market's ledger under the name in BENCH_APP, so that a run has schemas of its own in Postgres."""

import os

from craton.runtime import App
from market.ledger.module import ledger
from tests.door.standing_open import Door, door, stands_open

app = App(
    os.environ.get("BENCH_APP", "bench"),
    modules=[ledger, door],
    authenticate=Door.authenticate,
    middleware=[stands_open],
)
