"""The market under the name in BENCH_APP, so that a run has schemas of its own in Postgres."""

import os

from craton.runtime import App
from market.identity.api import Identity
from market.modules import MODULES

app = App(os.environ.get("BENCH_APP", "bench"), modules=MODULES, authenticate=Identity.authenticate)
