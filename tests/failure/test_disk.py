"""The disk is full, or another holds the file: commands are refused for a while, nothing is lost, nobody restarts."""

import os
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from craton.testing.crash import NoAnswer, Process, Send, Sent, drive, repeat
from tests.crash.bank import Bank, assert_as_asked, deposit_command, drive_until
from tests.failure.conftest import Start

FILE_LIMIT = 1_500_000
DISK = "4m"
DEADLINE_SECONDS = 10


def limit_files() -> None:
    """From here on no file of this process grows beyond the limit: writing more fails as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, resource.RLIM_INFINITY))


def refused(sent: list[Sent]) -> list[Sent]:
    return [entry for entry in sent if entry.first is not None and entry.first.status == 503]


def assert_says_try_again(entries: list[Sent]) -> None:
    for entry in entries:
        assert entry.first is not None
        assert entry.first.headers["content-type"] == "application/problem+json"
        assert entry.first.body["code"] == "unavailable"
        assert int(entry.first.headers["retry-after"]) >= 1


def load_until_refused(process: Process, bank: Bank, times: int = 30) -> list[Sent]:
    """Put the load on until so many commands were refused."""
    return drive_until(process, bank.scripts, times, of=lambda reply: reply.status == 503)


def test_when_files_can_grow_no_more_commands_get_503_and_go_through_once_there_is_room(start: Start) -> None:
    market = start(prepare=limit_files)
    bank = Bank.open(market)

    bank.sent += load_until_refused(market, bank)

    assert len(refused(bank.sent)) >= 30
    assert all(entry.first is not None for entry in bank.sent), "a request got no answer at all"
    assert {entry.first.status for entry in bank.sent if entry.first} <= {200, 201, 204, 409, 503}
    assert_says_try_again(refused(bank.sent))
    assert market.get("/health/live").status == 200
    assert market.get(f"/v1/accounts/{bank.accounts[0]}").status == 200

    resource.prlimit(market.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    repeat(market, bank.sent)

    assert_as_asked(market, bank)
    assert market.stop() == 0
    assert "background task has died" not in market.log


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, timeout=10, check=False).returncode:
        pytest.skip("a small disk can't be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], timeout=10, check=True)


def test_on_a_full_disk_commands_get_503_and_go_through_once_there_is_room(start: Start, small_disk: Path) -> None:
    market = start(data=small_disk)
    bank = Bank.open(market)

    bank.sent += load_until_refused(market, bank)

    assert len(refused(bank.sent)) >= 30
    assert all(entry.first is not None for entry in bank.sent), "a request got no answer at all"
    assert_says_try_again(refused(bank.sent))
    assert market.get("/health/live").status == 200

    remount(small_disk, "size=64m")
    repeat(market, bank.sent)

    assert_as_asked(market, bank)
    assert market.stop() == 0
    assert "background task has died" not in market.log


def test_a_process_killed_on_a_full_disk_starts_again_once_there_is_room(start: Start, small_disk: Path) -> None:
    market = start(data=small_disk)
    bank = Bank.open(market)
    bank.sent += load_until_refused(market, bank)
    market.kill()
    remount(small_disk, "size=64m")

    again = start(data=small_disk)
    repeat(again, bank.sent)

    assert_as_asked(again, bank)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], timeout=10, check=True)


def test_while_another_process_holds_the_file_commands_are_put_off_and_reads_are_answered_at_once(
    start: Start, tmp_path: Path
) -> None:
    market = start()
    bank = Bank.open(market)
    reads: list[float] = []

    def bring_once(send: Send) -> None:
        send(deposit_command(bank.accounts[0], 100))
        raise NoAnswer("once is enough")

    def read(_: Send) -> None:
        began = time.monotonic()
        assert market.get(f"/v1/accounts/{bank.accounts[0]}").status == 200
        reads.append(time.monotonic() - began)
        time.sleep(0.05)

    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        put_off = drive(market, [bring_once] * 8 + [read], seconds=DEADLINE_SECONDS + 1)
    finally:
        other.close()
    bank.sent += put_off

    assert max(reads) < DEADLINE_SECONDS / 2, "a read has waited for the writer"
    assert len(put_off) == 8
    for entry in put_off:
        assert entry.first is not None
        assert entry.first.status in (503, 504)
        assert "retry-after" in entry.first.headers or entry.first.status == 504
    repeat(market, bank.sent)
    assert_as_asked(market, bank)
    assert "background task has died" not in market.log
