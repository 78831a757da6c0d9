"""What can't start says why: one sentence on stderr, an exit code, no traceback and no secret."""

import os
import re
import socket
import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import craton
from tests.crash.databases import fresh_database
from tests.failure.conftest import LEDGER, Start

PASSWORD = "s3cr3t-p4ssw0rd"  # noqa: S105


def refusal(
    *, data: Path, code: int = 1, app: str = LEDGER, store: str = "sqlite", port: int = 0, crash_at: str = ""
) -> str:
    """Launch, expect it to give up, and return the sentence that it leaves."""
    arguments = ("up", app, "--port", str(port), "--empty", "--data", str(data), "--store", store)
    ended = craton(*arguments, env={"CRATON_CRASH_AT": crash_at} if crash_at else {})
    said = ended.err.strip()
    assert ended.code == code, ended
    assert PASSWORD not in said + ended.out
    assert "Traceback" not in said
    assert "\n" not in said, said
    assert re.fullmatch(r"\S.*\.", said), said
    return said


def test_a_port_that_another_uses(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refusal(data=tmp_path, port=port)
    assert str(port) in said and "--port" in said


def test_a_port_that_the_first_of_two_markets_uses(start: Start, tmp_path: Path) -> None:
    first = start()
    said = refusal(data=tmp_path / "other", port=first.port)
    assert str(first.port) in said
    assert first.get("/health/live").status == 200


def test_a_port_that_is_none(tmp_path: Path) -> None:
    assert "70000" in refusal(code=2, data=tmp_path, port=70_000)


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = refusal(data=tmp_path / "file")
    assert "file" in said


def test_a_folder_where_nothing_can_be_made() -> None:
    said = refusal(data=Path("/proc/craton"))
    assert "/proc/craton" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for root")
def test_a_folder_without_the_right_to_write(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    assert "locked" in refusal(data=folder)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"This is a letter to my mother.\n" * 100)
    said = refusal(data=tmp_path)
    assert "ledger.db" in said
    assert (tmp_path / "ledger.db").read_bytes().startswith(b"This is a letter")


def test_a_database_of_another_program(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.db") as other:
        other.execute("CREATE TABLE events (name TEXT)")
    other.close()
    assert "ledger.db" in refusal(data=tmp_path)


def test_a_file_that_is_not_in_utf_8(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.db") as other:
        other.execute("PRAGMA encoding = 'UTF-16le'")
        other.execute("CREATE TABLE things (name TEXT)")
    other.close()
    said = refusal(data=tmp_path)
    assert "ledger.db" in said and "UTF-16le" in said


def test_a_database_that_is_not_in_utf_8(postgres_url: str, tmp_path: Path) -> None:
    with fresh_database(postgres_url, "ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'") as url:
        said = refusal(data=tmp_path, store=url)
    assert "LATIN1" in said and "TEMPLATE template0" in said


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://craton:{PASSWORD}@127.0.0.1:1/market",
        f"postgres://craton:{PASSWORD}@nowhere.invalid/market",
        f"postgresql://craton:{PASSWORD}@127.0.0.1:port/market",
        f"postgresql://craton:{PASSWORD}@[::1/market",
        f"postgresql://craton:{PASSWORD}#@/:?@127.0.0.1:1/market",
        f"postgresql://craton@127.0.0.1:1/market?password={PASSWORD}",
        f"postgresql://craton:{PASSWORD}@127.0.0.1:1/market?sslmode=nonsense",
        f"postgresql://craton:{PASSWORD}@127.0.0.1:1/market?sslmode=verify-full&sslrootcert=/nowhere",
    ],
)
def test_a_database_that_is_not_there(url: str, tmp_path: Path) -> None:
    refusal(data=tmp_path, store=url)


@pytest.mark.parametrize(
    "url", [f"mysql://craton:{PASSWORD}@127.0.0.1/market", f"postgresql:/craton:{PASSWORD}@127.0.0.1/market"]
)
def test_a_store_that_there_is_no_adapter_for(url: str, tmp_path: Path) -> None:
    refusal(data=tmp_path, store=url, code=2)


def test_a_database_that_the_server_does_not_have(postgres_url: str, tmp_path: Path) -> None:
    url = postgres_url.rpartition("/")[0] + "/craton_nobody_made_this"
    assert "craton_nobody_made_this" in refusal(data=tmp_path, store=url)


def test_a_server_that_accepts_and_says_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://craton:{PASSWORD}@127.0.0.1:{silent.getsockname()[1]}/market"
        refusal(data=tmp_path, store=url)


def test_a_server_that_speaks_another_language(start: Start, tmp_path: Path) -> None:
    other = start()
    url = f"postgresql://craton:{PASSWORD}@127.0.0.1:{other.port}/market"
    refusal(data=tmp_path / "x", store=url)


@pytest.mark.parametrize("app", ["nowhere.app:app", "market.app:nothing", "market.app:ledger", "os:path", ":", ".."])
def test_an_application_that_is_not_there(app: str, tmp_path: Path) -> None:
    refusal(code=2, data=tmp_path, app=app)


@pytest.mark.parametrize("setting", ["nonsense", "commit.written:often"])
def test_a_crash_point_that_is_not_there(setting: str, tmp_path: Path) -> None:
    refusal(code=2, data=tmp_path, crash_at=setting)
