"""Several processes on one socket: `craton up --workers`, on Postgres."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import asyncpg
import pytest

from craton.testing.crash import Process
from craton.testing.until import until

LEDGER = "tests.market.ledger_app:app"
APP = "market"


@contextmanager
def workers(count: int, url: str, folder: Path) -> Iterator[Process]:
    """The ledger, served by some workers."""
    environment = {"CRATON_WORKERS": str(count), "CRATON_LOG": "warning"}
    with Process(data=folder, store=url, app=LEDGER, environment=environment) as process:
        yield process


def children(process: Process) -> list[int]:
    """The processes of the workers."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in listed.split()]


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def counted(process: Process) -> int:
    """How many requests for accounts the metrics count."""
    with urlopen(f"http://127.0.0.1:{process.port}/metrics") as answer:
        text = answer.read().decode()
    found = re.findall(r'^craton_http_requests_total\{.*"/v1/accounts/\{account\}".*\} (\S+)$', text, re.MULTILINE)
    return int(sum(map(float, found)))


def ask_for_an_account(process: Process) -> int:
    return process.get("/v1/accounts/0191e5a0-0000-7000-8000-000000000000").status


async def lease_owners(url: str) -> set[str]:
    """The processes that hold leases of the ledger, by their ids."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(f"SELECT owner FROM {APP}_ledger.lease_owners WHERE expires > clock_timestamp()")
    finally:
        await connection.close()
    return {row["owner"].split("/")[1] for row in rows}


async def test_they_answer_on_one_port_and_count_together(database: str, tmp_path: Path) -> None:
    with workers(3, database, tmp_path) as process:
        statuses = {ask_for_an_account(process) for _ in range(30)}

        assert statuses == {404}
        assert len(children(process)) == 3
        assert counted(process) == 30
        assert process.output.count(" is up") == 1


async def test_one_that_is_killed_is_started_again_and_the_others_serve_meanwhile(
    database: str, tmp_path: Path
) -> None:
    with workers(2, database, tmp_path) as process:
        ask_for_an_account(process)
        killed, other = children(process)

        os.kill(killed, signal.SIGKILL)
        await until(lambda: not is_alive(killed))
        statuses = {ask_for_an_account(process) for _ in range(20)}

        assert statuses == {404}
        await until(lambda: len(set(children(process)) - {killed}) == 2)
        assert other in children(process)
        assert counted(process) == 21
        assert "a worker has ended and is started again" in process.log


async def test_what_one_did_in_the_background_another_does_when_it_is_killed(database: str, tmp_path: Path) -> None:
    with workers(2, database, tmp_path):
        (owner,) = await lease_owners(database)

        os.kill(int(owner), signal.SIGKILL)

        async def another_works() -> bool:
            return bool(await lease_owners(database) - {owner})

        await until(another_works)


async def test_all_end_when_the_program_is_told_to(database: str, tmp_path: Path) -> None:
    with workers(2, database, tmp_path) as process:
        pids = children(process)

        code = process.stop()

        assert code == 0
        assert not any(map(is_alive, pids))
        assert await lease_owners(database) == set()


async def test_they_end_when_the_program_that_started_them_is_killed(database: str, tmp_path: Path) -> None:
    with workers(2, database, tmp_path) as process:
        pids = children(process)

        process.kill()

        await until(lambda: not any(map(is_alive, pids)))


def test_if_the_first_cannot_start_none_is_started(tmp_path: Path) -> None:
    nowhere = "postgresql://postgres@127.0.0.1:1/test"

    refused = pytest.raises(RuntimeError, match=r"exit code 1\): Postgres can't be reached: [^\n]*\.\n$")

    with refused, workers(2, nowhere, tmp_path):
        pass


@pytest.mark.parametrize("store", ["sqlite", "memory"])
def test_a_store_that_they_cannot_share_is_refused(store: str, tmp_path: Path) -> None:
    sentence = rf"exit code 2\): 2 workers can't share the store {store}: .*\(CRATON_WORKERS\)\.\n$"

    with pytest.raises(RuntimeError, match=sentence), workers(2, store, tmp_path):
        pass
