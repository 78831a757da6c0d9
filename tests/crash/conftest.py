"""Runs crashes, one after the other on the same data, and such rows of crashes side by side: much of their time is
spent waiting for a dead process's lease. All tests look at what came of them."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from craton.testing.crash import Process, Reply, Sent, drive, repeat
from tests.cli.conftest import craton
from tests.crash.bank import Bank, Found, Model, drive_until, once
from tests.crash.databases import fresh_database, turn

SIDE_BY_SIDE: Final = 3
ROOT: Final = Path(__file__).parents[2]
LEDGER: Final = "tests.market.ledger_app:app"
REBUILD: Final = "/v1/admin/projections/balances/rebuild"

# How often the point is passed before it kills: beyond the opening of the accounts, in the middle of the load.
COUNTS: Final = {
    "call.decided": 200,
    "commit.events_written": 150,
    "commit.written": 100,
    "commit.durable": 100,
    "call.committed": 200,
    "subscription.read": 200,
    "subscription.handled": 150,
    "subscription.written": 150,
    "projection.built": 1,
    "projection.swapped": 1,
}


ROWS: Final = ("call.decided commit.events_written subscription.read subscription.written projection.built",
               "commit.written commit.durable call.committed subscription.handled projection.swapped")  # fmt: skip
"""The points at which processes die on the same data, one after the other; the last one dies while it rebuilds."""


@dataclass
class Death:
    """A process that was killed at a point, and what was asked of it."""

    point: str
    killed: bool
    exit_code: int | None
    log: str
    sent: list[Sent]


@dataclass
class Crash:
    """Processes that have died one after the other, and what was left when one went on."""

    deaths: list[Death] = field(default_factory=list)
    answered: list[Sent] = field(default_factory=list)
    unanswered: list[Sent] = field(default_factory=list)
    log_after: str = ""
    replays: list[tuple[Sent, Reply]] = field(default_factory=list)
    """Each answered command, and the answer to its repetition after the restart."""
    model: Model = field(default_factory=Model)
    found: Found = field(default_factory=Found)
    stopped_with: int | None = None
    verified_with: int | None = None
    verified: str = ""


def crash_and_restart(points: str, store: str, url: str, folder: Path) -> Crash:
    """Kill ledgers under load, one after the other, each at a point; start one more, repeat, look."""
    crash = Crash()
    bank: Bank | None = None
    for point in points.split():
        with Process(data=folder, store=url, folder=ROOT, app=LEDGER, crash_at=f"{point}:{COUNTS[point]}") as doomed:
            bank = bank or Bank.open(doomed)
            sent, scripts = bank.follow(doomed), bank.scripts
            if point.startswith("projection."):
                sent += drive_until(doomed, scripts, 30)
                scripts = [*scripts, once(doomed, REBUILD)]
            sent += drive(doomed, scripts)
            bank.sent += sent
            crash.deaths.append(Death(point, doomed.killed, doomed.exit_code, doomed.log, sent))
    assert bank is not None
    crash.answered = [entry for entry in bank.sent if entry.first is not None]
    crash.unanswered = [entry for entry in bank.sent if entry.first is None]
    with Process(data=folder, store=url, folder=ROOT, app=LEDGER) as healed:
        repeat(healed, bank.sent)
        with healed.client() as client:
            crash.replays = [(entry, client.send(entry.command)) for entry in crash.answered]
        crash.found = Found.look(healed, bank)
        crash.model = Model.of(bank.sent, crash.found.external)
        crash.stopped_with, crash.log_after = healed.stop(), healed.log
    crash.verified_with, crash.verified = verify(folder, url)
    return crash


def verify(folder: Path, url: str, app: str = LEDGER) -> tuple[int, str]:
    """Run `craton verify`; return its exit code and what it said."""
    ended = craton("verify", "--data", str(folder), "--store", url, "--app", app)
    return ended.code, ended.out + ended.err


# --- running them ----------------------------------------------------------------------------------------------------

C = TypeVar("C")
Runs = dict[tuple[str, str], Future[C]]
Result = Callable[[str, str, str], C]


@contextmanager
def side_by_side(
    tmp_path_factory: pytest.TempPathFactory,
    wanted: set[tuple[str, str]],
    crash: Callable[[str, str, str, Path], C],
    runs: Runs[C],
) -> Iterator[Result[C]]:
    """Begins all crashes that the session's tests want of a store; gives what returns the one asked for, when over."""
    with ExitStack() as stack:
        pool = ThreadPoolExecutor(SIDE_BY_SIDE)
        stack.callback(pool.shutdown, cancel_futures=True)

        def begin(store: str, server: str) -> None:
            for name, point in sorted(wanted):
                if name == store:
                    folder = tmp_path_factory.mktemp(f"{store}-{point}")
                    runs[store, point] = pool.submit(run, point, store, server, folder)

        def run(point: str, store: str, server: str, folder: Path) -> C:
            if store == "sqlite":
                return crash(point, store, server, folder)
            with turn(), fresh_database(server) as url:
                return crash(point, store, url, folder)

        def result(store: str, point: str, server: str) -> C:
            if (store, point) not in runs:
                begin(store, server)
            return runs[store, point].result()

        yield result


def wanted_by(request: pytest.FixtureRequest, fixture: str, point: str) -> set[tuple[str, str]]:
    """The stores and rows of points for which the session's tests want a fixture."""
    return {
        (str(item.callspec.params["store"]), str(item.callspec.params[point]))
        for item in request.session.items
        if isinstance(item, pytest.Function) and fixture in item.fixturenames
    }


@pytest.fixture(scope="session")
def crashes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str, str, str], Crash]]:
    """Begins all crashes of the market that the session's tests ask for; returns the one asked for when it is over."""
    runs = request.config.stash.setdefault(_RUNS, {})
    with side_by_side(tmp_path_factory, wanted_by(request, "crash", "row"), crash_and_restart, runs) as result:
        yield result


_RUNS: Final = pytest.StashKey[Runs[Crash]]()


@pytest.fixture(params=["sqlite", "postgres"], scope="session")
def store(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=ROWS, scope="session")
def row(request: pytest.FixtureRequest) -> str:
    points: str = request.param
    return points


@pytest.fixture(scope="session")
def crash(store: str, row: str, crashes: Callable[[str, str, str], Crash], request: pytest.FixtureRequest) -> Crash:
    """Ledgers that were killed under load at these points, in this store, and the one that was started in the end."""
    return crashes(store, row, _server(store, request))


def _server(store: str, request: pytest.FixtureRequest) -> str:
    return "sqlite" if store == "sqlite" else request.getfixturevalue("postgres_url")


# --- showing them ----------------------------------------------------------------------------------------------------


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """With CRATON_CRASH_TABLE=1, show what each crash came to."""
    if os.environ.get("CRATON_CRASH_TABLE") != "1":
        return
    if runs := config.stash.get(_RUNS, {}):
        terminalreporter.section("crashes")
        for (store, points), run in runs.items():
            terminalreporter.write_line(f"{store}, {points}: {_line(run, _outcome)}")


def _line(run: Future[C], outcome: Callable[[C], str]) -> str:
    if run.cancelled() or not run.done():
        return "not run"
    if (problem := run.exception()) is not None:
        return f"{type(problem).__name__}: {problem}"
    return outcome(run.result())


def _outcome(crash: Crash) -> str:
    whole = crash.found.facts == crash.model.facts and crash.verified_with == 0
    counts = f"{len(crash.answered)} answered, {len(crash.unanswered)} not, of which {_ran(crash.unanswered)} had run"
    return f"{counts}; {'nothing lost, nothing twice' if whole else 'DIFFERENCES'}"


def _ran(sent: list[Sent]) -> int:
    """How many of the unanswered commands had run before the process died, as the repetition has shown."""
    return sum(entry.reply is not None and "idempotency-replayed" in entry.reply.headers for entry in sent)
