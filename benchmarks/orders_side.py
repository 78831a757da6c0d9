"""Serve a shop, have people place orders or look at them over HTTP, stop it: one run, one JSON line.

`orm` and `raw` are hand-written FastAPI services, `go`, `gorm` and `gorm-pq` are ones in Go; all of these only record
the work to be done later. `orm-checkout` does it, by jobs in its own process. `market` is `craton up`, with checkouts,
payments, mails and read models in the same process meanwhile. `services` is the same as three services behind a
gateway. `alone` leaves that work undone too, because its leases are held here.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import Request, urlopen

from benchmarks import idle
from benchmarks.go_peers import program
from benchmarks.http_side import free_port, serving
from benchmarks.postgres import drop_schemas, is_postgres, unique_name

PEERS = Path(__file__).with_name("peers")
BUYERS, PRODUCTS = 8, 20
PASSWORD = "correct horse battery"  # noqa: S105


class Shop:
    """Prepares Craton's market before a run, as its administrator and its buyers."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._admin = self._log_in("admin@example.com")

    def clients(self) -> dict[str, list[str]]:
        """Create products with plenty of stock, and log buyers in; return their ids and tokens."""
        products = [f"product_{number}" for number in range(PRODUCTS)]
        for product in products:
            price = {"amount": "1.00", "currency": "EUR"}
            self._ask("/v1/products", {"id": product, "name": product, "price": price}, self._admin)
            self._ask(f"/v1/products/{product}/stock", {"quantity": 1_000_000}, self._admin)
        emails = [f"buyer{number}@example.com" for number in range(BUYERS)]
        user_ids = [
            self._ask("/v1/users", {"email": email, "name": "Buyer", "password": PASSWORD})["id"] for email in emails
        ]
        return {"tokens": [self._log_in(email) for email in emails], "product_ids": products, "user_ids": user_ids}

    def _log_in(self, email: str) -> str:
        return str(self._ask("/v1/login", {"email": email, "password": PASSWORD})["access_token"])

    def _ask(self, path: str, body: dict[str, Any], token: str = "") -> Any:
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        with urlopen(Request(self._url + path, json.dumps(body).encode(), headers), timeout=20) as answer:  # noqa: S310
            content = answer.read()
        return json.loads(content) if content else None


CRATON = ("market", "services", "alone")
TOPOLOGY = Path(__file__).resolve().parents[1] / "market" / "topologies" / "three.toml"
FASTAPI = {"orm": "fastapi_orders.py", "raw": "fastapi_orders_raw.py", "orm-checkout": "fastapi_checkout.py"}
GO = ("go", "gorm", "gorm-pq")


class Run:
    """One run: its servers, and what the client needs to know of them."""

    def __init__(self, options: argparse.Namespace, folder: str, name: str) -> None:
        self._options = options
        self._folder = Path(folder)
        self._name = name
        self._environment = {
            "BENCH_APP": name,
            "BENCH_UNCACHED": "1" if options.uncached else "",
            "CRATON_LOG": "warning",
            "CRATON_IDENTITY_ADMIN_PASSWORD": PASSWORD,
            "CRATON_NOTIFICATIONS_FOLDER": str(self._folder / "mail"),
            "CRATON_NOTIFICATIONS_LETTERS_A_DAY": "1000",
            **dict.fromkeys(("SHOP_STORE", "MONEY_STORE", "PEOPLE_STORE"), options.store),
        }
        self._clients = self._folder / "clients.json"

    def measure(self) -> None:
        with ExitStack() as servers:
            port = free_port()
            if self._options.side == "alone":
                asyncio.run(self._hold_leases())
            server = servers.enter_context(self._serving(port)).pid
            if self._options.side in ("market", "services"):
                self._open_shop(port)
            load = [sys.executable, "-m", "benchmarks.orders_load", self._options.what]
            load += ["--seconds", self._options.seconds, "--connections", self._options.connections]
            load += ["--url", f"http://127.0.0.1:{port}", "--watched", json.dumps({"server": server})]
            with self._clients.open() as known, self._profiling(server):
                subprocess.run(load, stdin=known, check=True)

    def _serving(self, port: int) -> Any:
        return serving(self._command(port), port, self._environment)

    @contextmanager
    def _profiling(self, server: int) -> Iterator[None]:
        """Have py-spy look at the server while the block lasts, and draw a flame graph."""
        picture = self._options.profile
        if picture is None:
            yield
            return
        picture.parent.mkdir(parents=True, exist_ok=True)
        seconds = str(round(float(self._options.seconds)))
        command = [str(Path(sys.executable).with_name("py-spy")), "record", "--output", str(picture)]
        profiler = subprocess.Popen([*command, "--duration", seconds, "--rate", "250", "--pid", str(server)])
        try:
            yield
        finally:
            profiler.wait()

    def _open_shop(self, port: int) -> None:
        self._clients.write_text(json.dumps(Shop(f"http://127.0.0.1:{port}").clients()))

    async def _hold_leases(self) -> None:
        where = self._options.store, self._folder, self._name
        port = free_port()
        with self._serving(port):
            self._open_shop(port)
            leases = await idle.held(*where)
        await idle.hold(leases, *where)

    def _command(self, port: int) -> list[str]:
        side, store = self._options.side, self._options.store
        craton = str(Path(sys.executable).with_name("craton"))
        if side == "services":
            topology = self._folder / "three.toml"
            text = TOPOLOGY.read_text().replace("market.app:app", "benchmarks.shop:app")
            topology.write_text(text.replace("listen = 8000", f"listen = {port}"))
            return [craton, "up", "--topology", str(topology), "--data", str(self._folder), "--empty"]
        if side in CRATON:
            where = ["--port", str(port), "--data", str(self._folder), "--store", store]
            workers = [] if self._options.workers == 1 else ["--workers", str(self._options.workers)]
            return [craton, "up", "benchmarks.shop:app", *where, *workers, "--empty"]
        where = ["--port", str(port), "--store", store, "--clients", str(self._clients)]
        if side in GO:
            redis = ["--redis", self._options.redis] if self._options.redis else []
            return [*program(side), *where, *redis]
        return [self._options.python, str(PEERS / FASTAPI[side]), *where]


def main() -> None:
    parser = argparse.ArgumentParser(description="Load a shop over HTTP.")
    parser.add_argument("side", choices=[*CRATON, *FASTAPI, *GO])
    parser.add_argument("what", choices=["place", "get", "user", "checkout", "pace"])
    parser.add_argument("--store", required=True, help="sqlite or postgresql://user@host:port/db")
    parser.add_argument("--data", type=Path, default=Path("var"), help="where SQLite's files go: on a real disk")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the peer's packages")
    parser.add_argument("--seconds", default="5")
    parser.add_argument("--connections", default="32")
    parser.add_argument("--workers", type=int, default=1, help="processes of craton up")
    parser.add_argument("--uncached", action="store_true", help="have craton read users from the store each time")
    parser.add_argument("--profile", type=Path, help="an SVG file: a flame graph of the server, by py-spy")
    parser.add_argument("--redis", default="", help="host:port of gorm's cache")
    options = parser.parse_args()
    options.data.mkdir(parents=True, exist_ok=True)
    name = unique_name()
    with TemporaryDirectory(prefix="bench-", dir=options.data) as folder:
        try:
            Run(options, folder, name).measure()
        finally:
            if is_postgres(options.store):
                asyncio.run(drop_schemas(options.store, name, "peer_orders"))


if __name__ == "__main__":
    main()
