"""A ledger beside which a thread runs that never ends: a process can't end by itself then."""

import threading

from craton.cli import up
from tests.market.ledger_app import app

setattr(up, "STOP_SECONDS", 1.0)  # noqa: B010 — so that the test needn't wait for long
threading.Thread(target=threading.Event().wait, name="never ends").start()

__all__ = ["app"]
