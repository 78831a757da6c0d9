"""The whole market behind a real socket, people who use it, and what their tests ask of it.

ada = await shop.register("Ada")
knife = await shop.add_product("89.00", stock=10)
order = await shop.order(ada, {knife: 2})        # … and wait until it isn't pending any more
assert order["status"] == "confirmed"
await shop.restart()                             # in the same place: tokens go on, caches don't
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from email import message_from_bytes
from email.message import Message
from email.policy import default
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import argon2
import asyncpg

from craton.adapters.stores import stores
from craton.application import Api, Module
from craton.domain.world import now
from craton.ports import SharedCache
from craton.runtime import App
from craton.testing import until
from craton.testing.http import HttpClient
from craton.testing.services import Services, split
from market.identity.adapters.argon2 import Argon2
from market.identity.api import Identity
from market.identity.module import identity
from market.identity.ports import PasswordHasher
from market.modules import MODULES
from tests.http.client import Client, Response
from tests.http.conftest import served
from tests.market.topology import services_of

A = TypeVar("A", bound=Api)
P = TypeVar("P", bound=App)
Texts = Mapping[str, str] | None
Clock = Callable[[], datetime]

ADMIN_EMAIL, ADMIN_PASSWORD = "admin@example.com", "the administrator's password"
PASSWORD, MEMBERSHIP_SECRET = "a password of nobody's", "what the membership system knows"
CARD = "pm_card_visa"


class QuickArgon2(Argon2):
    """Hashes as the market does, but with a hundredth of the work, so that tests needn't wait for it."""

    def __init__(self) -> None:
        super().__init__(
            argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1), max_waiting_per_address=10_000
        )


class Person:
    """Whoever calls the shop: with a token, or (`nobody`) without."""

    def __init__(self, shop: "Shop", id: str = "", email: str = "", tokens: Mapping[str, Any] | None = None) -> None:
        self._shop = shop
        self.id = id
        self.email = email
        self.tokens = dict(tokens or {})

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens['access_token']}"} if self.tokens else {}

    async def get(self, path: str, headers: Texts = None) -> Response:
        return await self.request("GET", path, headers=headers)

    async def post(self, path: str, body: Any = None, headers: Texts = None) -> Response:
        return await self.request("POST", path, body, headers)

    async def put(self, path: str, body: Any = None, headers: Texts = None) -> Response:
        return await self.request("PUT", path, body, headers)

    async def delete(self, path: str, headers: Texts = None) -> Response:
        return await self.request("DELETE", path, headers=headers)

    async def request(self, method: str, path: str, body: Any = None, headers: Texts = None) -> Response:
        """Send a value as JSON; bytes go as they are."""
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} if raw else {}
        return await self._shop.client.request(method, path, raw, {**kind, **self.headers, **(headers or {})})


class Shop:
    """The market in a place of its own. `settings` are environment variables, beside or instead of the usual ones."""

    app: App
    client: Client
    said: Sequence[str]
    """What whoever has started it was told."""

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        clock: Clock = now,
        settings: Texts = None,
        modules: Sequence[Module] = MODULES,
        hasher: type[Argon2] = QuickArgon2,
    ) -> None:
        self.url = url
        self.folder = folder
        self.mails = folder / "mails"
        self.name = f"shop_{uuid4().hex[:12]}"
        self.clock = clock
        self.modules = modules
        self.hasher = hasher
        self.cache: SharedCache | None = None
        self.settings = {
            "CRATON_NOTIFICATIONS_FOLDER": str(self.mails),
            "CRATON_NOTIFICATIONS_LETTERS_A_DAY": "1000",
            "CRATON_IDENTITY_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "CRATON_IDENTITY_MEMBERSHIP_SECRET": MEMBERSHIP_SECRET,
            **(settings or {}),
        }
        self.nobody = Person(self)
        self._stack = AsyncExitStack()
        self._admin: Person | None = None
        self._services: Services | None = None

    @asynccontextmanager
    async def run(self) -> AsyncIterator[App]:
        """Run here, as one process would, but behind no socket."""
        app, opened = self.made(App), stores(self.url, self.folder, self.name)
        services = services_of(module.name for module in self.modules)
        if services is None:
            async with app.run(opened, cache=self.cache):
                self._services = None
                yield app
        else:
            async with split(app, services, opened, cache=self.cache) as found:
                self._services = found
                yield found.app

    def made(self, kind: type[P]) -> P:
        """The app that is to be run. The settings of this moment count."""
        identity.provides[PasswordHasher] = self.hasher()
        return kind(
            self.name,
            modules=self.modules,
            authenticate=Identity.authenticate,
            copied_calls=True,
            clock=self.clock,
            environment={name: value for name, value in self.settings.items() if name.startswith(self._variables)},
        )

    @property
    def _variables(self) -> tuple[str, ...]:
        """How the variables of the modules begin that there are."""
        return tuple(f"CRATON_{module.name.upper()}_" for module in self.modules)

    async def __aenter__(self) -> "Shop":
        async with AsyncExitStack() as stack:
            self.app = await stack.enter_async_context(self.run())
            self.said = await self.app.begin(empty=True)
            front = None if self._services is None else self._services.front
            self.client = await stack.enter_async_context(served(self.app, application=front))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def restart(self) -> None:
        """Stop in good order, and begin again with the same data."""
        await self._stack.aclose()
        await self.__aenter__()

    async def drop(self) -> None:
        """Remove the data, if it isn't in the test's folder anyway."""
        if self.url == "sqlite":
            return
        connection = await asyncpg.connect(self.url)
        try:
            schemas = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, $1)"
            for row in await connection.fetch(schemas, self.name):
                await connection.execute(f'DROP SCHEMA "{row["nspname"]}" CASCADE')
        finally:
            await connection.close()

    async def metrics(self) -> str:
        """The metrics of all services."""
        if self._services is None:
            return (await self.nobody.get("/metrics")).body.decode()
        answers = [await HttpClient(one).get("/metrics") for one in self._services.applications.values()]
        return "".join(answer.body.decode() for answer in answers)

    def api(self, api: Callable[..., A]) -> A:
        """A module as other modules see it, past HTTP and its guards."""
        return self.app.api(api)

    async def register(self, name: str = "Ada", *, email: str = "", password: str = PASSWORD) -> Person:
        """Somebody new, logged in."""
        email = email or f"{name.lower()}.{uuid4().hex[:8]}@example.com"
        made = await self.nobody.post("/v1/users", {"email": email, "name": name, "password": password})
        assert made.status == 201, made.body
        return await self.login(email, password)

    async def login(self, email: str, password: str = PASSWORD) -> Person:
        answer = await self.nobody.post("/v1/login", {"email": email, "password": password})
        assert answer.status == 200, answer.body
        return Person(self, answer.json["user_id"], email, answer.json)

    async def admin(self) -> Person:
        """The administrator, who logs in once."""
        if self._admin is None:
            self._admin = await self.login(ADMIN_EMAIL, ADMIN_PASSWORD)
        return self._admin

    async def add_product(
        self, price: str = "10.00", *, stock: int = 0, name: str = "Spoon", currency: str = "EUR", id: str = ""
    ) -> str:
        """Put a product on sale and so many of it on the shelf; return its id."""
        admin = await self.admin()
        body = {"name": name, "price": {"amount": price, "currency": currency}, **({"id": id} if id else {})}
        added = await admin.post("/v1/products", body)
        assert added.status == 201, added.body
        product: str = added.headers["location"].removeprefix("/v1/products/")
        if stock:
            stocked = await admin.post(f"/v1/products/{product}/stock", {"quantity": stock})
            assert stocked.status == 204, stocked.body
        return product

    async def stock(self, product: str) -> dict[str, Any]:
        """`on_hand`, `reserved` and `available`."""
        return dict((await self.nobody.get(f"/v1/products/{product}/stock")).json)

    async def place(self, buyer: Person, lines: Mapping[str, int], pay_with: str = "card", method: str = CARD) -> str:
        """Place an order, don't wait for what comes of it, and return its id, which is that of its saga, too.

        Paid by card without a method, it stays pending until its payer pays in the browser.
        """
        wanted = [{"product_id": product, "quantity": quantity} for product, quantity in lines.items()]
        card = {"payment_method": method} if pay_with == "card" and method else {}
        body = {"lines": wanted, "pay_with": pay_with, **card}
        placed = await buyer.post("/v1/orders", body)
        assert placed.status == 202, placed.body
        return str(placed.json["order_id"])

    async def order(
        self, buyer: Person, lines: Mapping[str, int], pay_with: str = "card", method: str = CARD
    ) -> dict[str, Any]:
        """Place an order and wait until it isn't pending any more; return it as its buyer sees it."""
        return await self.decided(buyer, await self.place(buyer, lines, pay_with, method))

    async def decided(self, buyer: Person, order: str, seconds: float = 300) -> dict[str, Any]:
        """Wait until an order isn't pending any more."""
        shown = await self.seen(buyer, f"/v1/orders/{order}", lambda it: it["status"] != "pending", seconds)
        return dict(shown)

    async def seen(self, viewer: Person, path: str, wanted: Callable[[Any], bool], seconds: float = 300) -> Any:
        """Wait until a resource is there and as it is wanted; return it. Views follow what has happened."""
        answer: Response | None = None

        async def is_as_wanted() -> bool:
            nonlocal answer
            answer = await viewer.get(path)
            return answer.status == 200 and wanted(answer.json)

        try:
            await until(is_as_wanted, seconds)
        except TimeoutError:
            raise AssertionError(f"{path} never came to be as it was wanted, but is {answer}") from None
        assert answer is not None
        return answer.json

    def letters(self, address: str = "") -> list[Message]:
        """The mails that were written, to one address or to all, oldest first."""
        files = sorted(self.mails.glob("*.eml"), key=lambda file: file.stat().st_mtime_ns)
        found = [message_from_bytes(file.read_bytes(), policy=default) for file in files]
        return [mail for mail in found if not address or address in str(mail["to"])]
