"""Serve a ledger, load it with transfers over HTTP, stop it: one run, one JSON line.

`craton` is `craton up`; `peer` is the hand-written FastAPI service. Each is one process.
"""

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.postgres import drop_schemas, is_postgres, unique_name

PEER = Path(__file__).with_name("peers") / "fastapi_service.py"
START_SECONDS = 30.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.05


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(command: list[str], port: int, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server while the block lasts."""
    environment = {"CRATON_LIMITS": "off", **environment}
    server = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL)
    try:
        wait_until_open(server, port)
        yield server
    finally:
        server.terminate()
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()


def wait_until_open(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit(f"the server ended with exit code {server.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(POLL_SECONDS)
    raise SystemExit(f"the server didn't open its port within {START_SECONDS:.0f} s")


def server_command(options: argparse.Namespace, port: int, folder: str) -> list[str]:
    if options.side == "peer":
        return [options.python, str(PEER), "--port", str(port), "--store", options.store]
    craton = str(Path(sys.executable).with_name("craton"))
    where = ["--port", str(port), "--data", folder, "--store", options.store]
    return [craton, "up", "benchmarks.market:app", *where, "--empty"]


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Load a ledger over HTTP.")
    parser.add_argument("side", choices=["craton", "peer"])
    parser.add_argument("--store", required=True, help="sqlite or postgresql://user@host:port/db")
    parser.add_argument("--data", type=Path, default=Path("var"), help="where SQLite's files go: on a real disk")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the peer's packages")
    parser.add_argument("--connections", default="32")
    parser.add_argument("--seconds", default="5")
    parser.add_argument("--hot", action="store_true", help="all out of one account")
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    name = unique_name()
    port = free_port()
    options.data.mkdir(parents=True, exist_ok=True)
    load = [sys.executable, "-m", "benchmarks.http_load", "transfers", "--url", f"http://127.0.0.1:{port}"]
    load += ["--connections", options.connections, "--seconds", options.seconds, *["--hot"] * options.hot]
    with TemporaryDirectory(prefix="bench-", dir=options.data) as folder:
        try:
            with serving(server_command(options, port, folder), port, {"BENCH_APP": name}):
                subprocess.run(load, check=True)
        finally:
            if is_postgres(options.store):
                asyncio.run(drop_schemas(options.store, name))


if __name__ == "__main__":
    main()
