"""A user of the market, over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

import httpx

from market.demo.server import Server

T = TypeVar("T")


class Person:
    """A user with an access token."""

    def __init__(self, server: Server, name: str, http: httpx.AsyncClient, headers: dict[str, str]) -> None:
        self.name = name
        self._server = server
        self._http = http
        self._headers = headers

    @classmethod
    async def log_in(cls, server: Server, http: httpx.AsyncClient, name: str, email: str, password: str) -> Self:
        answer = await http.post(f"{server.url}/v1/login", json={"email": email, "password": password})
        answer.raise_for_status()
        return cls(server, name, http, {"authorization": f"Bearer {answer.json()['access_token']}"})

    async def get(self, path: str) -> Any:
        answer = await self._http.get(self._server.url + path, headers=self._headers)
        answer.raise_for_status()
        return answer.json()

    async def post(self, path: str, **body: Any) -> Any:
        answer = await self._http.post(self._server.url + path, json=body, headers=self._headers)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    async def refusal(self, path: str, **body: Any) -> str:
        """The sentence with which a request is refused; empty if it isn't."""
        answer = await self._http.post(self._server.url + path, json=body, headers=self._headers)
        return str(answer.json()["detail"]) if answer.status_code == 409 else ""

    async def all(self, path: str) -> list[Any]:
        """The items of all pages of a list."""
        items: list[Any] = []
        while True:
            page = await self.get(f"{path}{'&' if '?' in path else '?'}page_size=100&page={len(items) // 100 + 1}")
            items += page["items"]
            if len(items) >= page["total"]:
                return items

    async def order(self, product: str, quantity: int = 1, card: str = "pm_card_visa", pay_with: str = "card") -> str:
        lines = [{"product_id": product, "quantity": quantity}]
        paying = {"pay_with": pay_with} | ({"payment_method": card} if pay_with == "card" else {})
        return str((await self.post("/v1/orders", lines=lines, **paying))["order_id"])

    async def outcome(self, order: str) -> str:
        """Wait until an order isn't pending any more; return its status as text."""

        async def decided() -> str | None:
            found = await self.get(f"/v1/orders/{order}")
            return None if found["status"] == "pending" else str(found["status_display"])

        return await until(decided)


async def until(look: Callable[[], Awaitable[T | None]], seconds: float = 30) -> T:
    """Wait until a function returns a result. Raises `TimeoutError`."""
    async with asyncio.timeout(seconds):
        while (found := await look()) is None:
            await asyncio.sleep(0.05)
        return found
