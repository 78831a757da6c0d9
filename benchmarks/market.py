"""The market's ledger under the name in BENCH_APP, so that a run has schemas of its own in Postgres."""

import os

from craton.runtime import App
from market.ledger.module import ledger

app = App(os.environ.get("BENCH_APP", "bench"), modules=[ledger])
