"""What a policy does outside of the store comes again after a crash, but no more of it than was in flight."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from craton.runtime.subscriptions.subscription import MAX_AT_ONCE
from tests.crash.databases import fresh_database
from tests.crash.letters import BLOCKED_EVENTS, EVENTS

ROOT = Path(__file__).parents[2]


class Office:
    """Processes that send letters about the same events, and the letters that were sent."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder

    @property
    def sent(self) -> list[int]:
        return [int(line) for line in (self._folder / "letters").read_text().splitlines()]

    def begin(self, point: int = 0, *, block: float = 0) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.crash.letters",
                self._folder / "letters",
                self._url,
                self._folder,
                str(point),
            ],
            cwd=ROOT,
            env={**os.environ, "BLOCK": str(block)},
            stdout=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(params=["sqlite", "postgres"])
def office(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    with ExitStack() as stack:
        url = "sqlite"
        if request.param == "postgres":
            url = stack.enter_context(fresh_database(request.getfixturevalue("postgres_url")))
        yield Office(url, tmp_path)


def test_a_killed_process_repeats_at_most_what_it_had_in_flight(office: Office) -> None:
    for point in (EVENTS // 3, EVENTS // 2):
        killed = office.begin(point)
        killed.communicate()
        assert killed.returncode < 0

    last = office.begin()
    said, _ = last.communicate()

    assert said == "done\n"
    assert set(office.sent) == set(range(EVENTS))
    assert len(office.sent) <= EVENTS + 2 * MAX_AT_ONCE


def test_two_processes_whose_letters_block_them_longer_than_their_lease_get_done(office: Office) -> None:
    processes = [office.begin(block=0.5) for _ in range(2)]

    assert all(process.communicate()[0].endswith("done\n") for process in processes)

    assert set(office.sent) == set(range(BLOCKED_EVENTS))
    assert len(office.sent) < 4 * BLOCKED_EVENTS
