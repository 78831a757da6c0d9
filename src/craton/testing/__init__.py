"""For tests of applications: an app in memory, a clock that is turned, callers, HTTP in process, given-when-then,
runs that can be repeated.

`craton.testing.conformance` has the suites that every store must pass, and `craton.testing.crash` kills processes at
named points; both need pytest.
"""

from craton.testing.aggregates import given
from craton.testing.app import Client, RunningApp, run
from craton.testing.clock import TurnedClock
from craton.testing.http import HttpClient, Response
from craton.testing.settled import settled
from craton.testing.simulation import simulate
from craton.testing.until import until

__all__ = [
    "Client",
    "HttpClient",
    "Response",
    "RunningApp",
    "TurnedClock",
    "given",
    "run",
    "settled",
    "simulate",
    "until",
]
