"""localstripe, a server that speaks Stripe's API, run as a process of its own."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

MISSING = [name for name in ("stripe", "httpx", "localstripe") if find_spec(name) is None]
KEY, SECRET = "sk_test_verysecret", "whsec_verysecret"
SERVER = """
from localstripe import resources

Intent = resources.PaymentIntent
create, confirm_chosen = Intent._api_create, Intent._api_confirm


def confirm(id, payment_method=None, **data):
    intent = Intent._api_retrieve(id)
    if payment_method and intent.status in ("requires_payment_method", "requires_confirmation"):
        resources.PaymentMethod._api_retrieve(payment_method)
        intent.payment_method, intent.latest_charge = payment_method, None
    return confirm_chosen(id, **data)


Intent._api_create = lambda allowed_payment_method_types=None, **data: create(**data)
resources.extra_apis[:] = [
    (verb, path, confirm if path == "/v1/payment_intents/{id}/confirm" else function)
    for verb, path, function in resources.extra_apis
]

from localstripe import server

server.start()
"""
"""localstripe lacks two things of Stripe's API of 2026: the parameter that has taken the place of
`payment_method_types`, and that a method may be named when an intent is confirmed."""


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running() -> Iterator[str]:
    """Its URL, while the block lasts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", SERVER, "--port", str(port), "--from-scratch"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 300
            while not answers(port):
                assert server.poll() is None and time.monotonic() < deadline, "localstripe doesn't start"
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


class Server:
    """localstripe as the test sees it, past the gateway."""

    def __init__(self, client: "httpx.AsyncClient") -> None:
        self._client = client

    async def get(self, path: str, **query: str) -> Any:
        return (await self._client.get(path, params=query)).raise_for_status().json()

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        return (await self._client.post(path, json=body)).raise_for_status()

    async def charges(self, reference: str) -> list[Any]:
        found = await self.get("/v1/charges", limit="1000")
        return [charge for charge in found["data"] if charge["payment_intent"] == reference]

    async def refunds(self, reference: str) -> list[Any]:
        found: list[Any] = (await self.get("/v1/refunds", payment_intent=reference))["data"]
        return found

    async def intents(self, order: str) -> list[Any]:
        """Those that were announced for an order."""
        found = await self.get("/v1/payment_intents", limit="1000")
        return [intent for intent in found["data"] if intent["metadata"].get("order") == order]
