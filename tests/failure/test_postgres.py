"""Postgres loses its connections, refuses to write, or is restarted under load: the market goes on by itself."""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from craton.testing.crash import Process, Sent, drive, repeat
from tests.crash.bank import Bank, Found, assert_as_asked, claimed_not_run, drive_until
from tests.crash.databases import run_sql
from tests.failure.conftest import Start

KILL_ALL = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Do something beside the block; give what says whether it is done."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield lambda: not thread.is_alive()
    thread.join(300)
    assert not thread.is_alive()


def assert_refusals_were_honest(market: Process, bank: Bank, sent: list[Sent]) -> None:
    """Whoever got no success was told to try again; who was told that his command had not run was told the truth."""
    assert all(entry.first is not None for entry in sent), "a request got no answer at all"
    assert {entry.first.status for entry in sent if entry.first} <= {200, 201, 204, 409, 503}
    assert all("retry-after" in entry.first.headers for entry in sent if entry.first and entry.first.status == 503)
    ran = {fact[0] for fact in Found.look(market, bank).facts}
    assert ran & claimed_not_run(sent) == set()


def test_when_all_connections_are_killed_under_load_nothing_is_lost_and_nothing_happens_twice(
    start: Start, database: str
) -> None:
    market = start(store=database)
    bank = Bank.open(market)

    def kill_again_and_again() -> None:
        for _ in range(8):
            time.sleep(0.3)
            run_sql(database, KILL_ALL)

    with meanwhile(kill_again_and_again) as all_killed:
        sent = drive(market, bank.scripts, until=all_killed)
    sent += drive_until(market, bank.scripts, 50)
    bank.sent += sent

    assert len([entry for entry in sent if entry.reply is None]) > 0, "no command was hit"
    assert_refusals_were_honest(market, bank, sent)
    repeat(market, bank.sent)
    assert_as_asked(market, bank)
    assert market.stop() == 0
    assert "background task has died" not in market.log


def test_a_database_that_may_only_be_read_refuses_commands_and_answers_queries(
    start: Start, database: str, postgres_url: str
) -> None:
    market = start(store=database)
    bank = Bank.open(market)
    name = database.rpartition("/")[2]
    run_sql(database, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    run_sql(database, KILL_ALL)

    sent = drive_until(market, bank.scripts, 200)
    bank.sent += sent

    later = sent[len(sent) // 2 :]
    assert {entry.first.status for entry in later if entry.first} == {503}
    assert market.get(f"/v1/accounts/{bank.accounts[0]}").status == 200
    assert market.get("/health/live").status == 200
    assert len(claimed_not_run(later)) == len(later)

    run_sql(postgres_url, f"ALTER DATABASE {name} RESET default_transaction_read_only")
    run_sql(database, KILL_ALL)
    repeat(market, bank.sent)
    assert_as_asked(market, bank)
    assert "background task has died" not in market.log


# --- a server of its own -------------------------------------------------------------------------------------------


class Server:
    """A Postgres server that nobody else uses, so that it can be killed."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        self._run("initdb", "--no-sync", "--username=postgres", "--auth=trust", "-D", str(self._folder))

    def control(self, *arguments: str) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        log = str(self._folder / "server.log")
        self._run("pg_ctl", *arguments, "-w", "-D", str(self._folder), "-l", log, "-o", options)

    def _run(self, program: str, *arguments: str) -> None:
        # The server refuses to run as root.
        drop = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*drop, str(self._binaries / program), *arguments]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False, cwd=self._folder
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode()


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not binaries or (os.geteuid() == 0 and shutil.which("runuser") is None):
        pytest.skip("there are no programs of a Postgres server here")
    folder = Path(subprocess.check_output(["mktemp", "-d", "/tmp/craton-postgres-XXXXXX"], text=True).strip())  # noqa: S108
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    found = Server(binaries[-1].parent, folder)
    try:
        found.make()
        found.control("start")
        yield found
        found.control("stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder)


def test_when_postgres_crashes_and_starts_again_under_load_nothing_is_lost_and_nothing_happens_twice(
    start: Start, server: Server
) -> None:
    market = start(store=server.url)
    bank = Bank.open(market)

    def restart() -> None:
        time.sleep(1)
        server.control("restart", "-m", "immediate")

    with meanwhile(restart) as restarted:
        sent = drive(market, bank.scripts, until=restarted)
    sent += drive_until(market, bank.scripts, 50, of=lambda reply: reply.ok)
    bank.sent += sent

    assert len([entry for entry in sent if entry.reply is None]) > 0, "no command was hit"
    assert market.exit_code is None
    assert_refusals_were_honest(market, bank, sent)
    repeat(market, bank.sent)
    assert_as_asked(market, bank)
    assert market.stop() == 0
    assert "background task has died" not in market.log


def test_a_server_that_may_lose_commits_is_used_with_a_warning(start: Start, server: Server) -> None:
    run_sql(server.url, "ALTER SYSTEM SET fsync = off")
    run_sql(server.url, "SELECT pg_reload_conf()")

    market = start(store=server.url)

    assert "fsync = off" in market.log
    assert "full_page_writes" not in market.log


def test_while_postgres_is_down_the_market_lives_and_is_not_ready(start: Start, server: Server) -> None:
    market = start(store=server.url)
    bank = Bank.open(market)
    server.control("stop", "-m", "immediate")

    bank.sent += drive(market, bank.scripts, seconds=0.5)
    assert market.get("/health/live").status == 200
    ready = market.get("/health/ready")
    assert (ready.status, ready.body["failing"]) == (503, ["door", "ledger"])
    assert "retry-after" in ready.headers
    assert market.get(f"/v1/accounts/{bank.accounts[0]}").status == 503

    server.control("start")
    repeat(market, bank.sent)
    assert_as_asked(market, bank)
    assert market.get("/health/ready").status == 200
    assert "background task has died" not in market.log
