"""Serve a shop, have people place orders or look at them over HTTP, stop it: one run, one JSON line.

`orm` and `raw` are hand-written FastAPI services, which only record the work to be done later. `market` is `craton
up`, with checkouts, payments, mails and read models in the same process meanwhile. `pair` is two of them, of which the
first does all that work, and the second answers the requests.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import Request, urlopen

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
        for email in emails:
            self._ask("/v1/users", {"email": email, "name": "Buyer", "password": PASSWORD})
        return {"tokens": [self._log_in(email) for email in emails], "product_ids": products}

    def _log_in(self, email: str) -> str:
        return str(self._ask("/v1/login", {"email": email, "password": PASSWORD})["access_token"])

    def _ask(self, path: str, body: dict[str, Any], token: str = "") -> Any:
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        with urlopen(Request(self._url + path, json.dumps(body).encode(), headers), timeout=20) as answer:  # noqa: S310
            content = answer.read()
        return json.loads(content) if content else None


def main() -> None:
    parser = argparse.ArgumentParser(description="Load a shop over HTTP.")
    parser.add_argument("side", choices=["market", "pair", "orm", "raw"])
    parser.add_argument("what", choices=["place", "get", "pace"])
    parser.add_argument("--store", required=True, help="sqlite or postgresql://user@host:port/db")
    parser.add_argument("--data", type=Path, default=Path("var"), help="where SQLite's files go: on a real disk")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the peer's packages")
    parser.add_argument("--seconds", default="5")
    options = parser.parse_args()
    name, port = unique_name(), free_port()
    options.data.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=options.data) as folder:
        clients = Path(folder) / "clients.json"
        environment = {
            "BENCH_APP": name,
            "CRATON_LOG": "warning",
            "CRATON_IDENTITY_ADMIN_PASSWORD": PASSWORD,
            "CRATON_NOTIFICATIONS_FOLDER": str(Path(folder) / "mail"),
            "CRATON_NOTIFICATIONS_LETTERS_A_DAY": "1000",
        }
        try:
            with ExitStack() as servers:
                ports = [free_port(), port] if options.side == "pair" else [port]
                for each in ports:
                    servers.enter_context(serving(command(options, each, folder, clients), each, environment))
                if options.side in ("market", "pair"):
                    clients.write_text(json.dumps(Shop(f"http://127.0.0.1:{port}").clients()))
                load = [sys.executable, "-m", "benchmarks.orders_load", options.what, "--seconds", options.seconds]
                with clients.open() as known:
                    subprocess.run([*load, "--url", f"http://127.0.0.1:{port}"], stdin=known, check=True)
        finally:
            if is_postgres(options.store):
                asyncio.run(drop_schemas(options.store, name, "peer_orders"))


def command(options: argparse.Namespace, port: int, folder: str, clients: Path) -> list[str]:
    if options.side in ("market", "pair"):
        craton = str(Path(sys.executable).with_name("craton"))
        where = ["--port", str(port), "--data", folder, "--store", options.store]
        return [craton, "up", "benchmarks.shop:app", *where, "--empty"]
    program = PEERS / ("fastapi_orders.py" if options.side == "orm" else "fastapi_orders_raw.py")
    return [options.python, str(program), "--port", str(port), "--store", options.store, "--clients", str(clients)]


if __name__ == "__main__":
    main()
