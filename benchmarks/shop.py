"""The market under the name in BENCH_APP, so that a run has schemas of its own in Postgres.

With BENCH_UNCACHED, users and sessions are read from the store each time.
"""

import os

from market.identity.read_models import Sessions, Users

Users.cached = Sessions.cached = not os.environ.get("BENCH_UNCACHED")

from craton.runtime import App  # noqa: E402 — a module takes over what its projections say
from market.identity.api import Identity  # noqa: E402
from market.modules import MODULES  # noqa: E402

app = App(os.environ.get("BENCH_APP", "bench"), modules=MODULES, authenticate=Identity.authenticate)
