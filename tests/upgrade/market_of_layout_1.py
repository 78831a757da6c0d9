"""The market with data that a program wrote before layout 2. `data/README.md` says how the data was made."""

import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from craton.adapters.stores import stores
from craton.application.page import Paging
from craton.ports import Statement
from craton.runtime import App
from craton.runtime.compatibility.readers import move_readers_home
from craton.runtime.operations.api import Operations, ParkedEntry
from craton.testing import TurnedClock, until
from market.identity.adapters.argon2 import Argon2
from tests.http.client import Response
from tests.market.shop import Person, Shop

DATA: Final = Path(__file__).parent / "data"
ALL: Final = Paging(1, 100)


@cache
def facts(form: str) -> Mapping[str, Any]:
    """What there is in the data of one kind of store (`sqlite` or `postgres`), by name."""
    return dict(json.loads((DATA / "facts.json").read_text(encoding="utf-8"))[form])


@cache
def answers(form: str) -> Mapping[str, Any]:
    """What the program that wrote the data answered: `views` at the end, `keys` to requests with a key."""
    return dict(json.loads(lzma.decompress((DATA / "answers.json.xz").read_bytes()))[form])


def unpack_sqlite(folder: Path) -> None:
    """Put the file of each module into a folder."""
    archive = io.BytesIO(lzma.decompress((DATA / "market.sqlite.tar.xz").read_bytes()))
    with tarfile.open(fileobj=archive) as files:
        files.extractall(folder, filter="data")


def postgres_script() -> str:
    """The statements that make the schema of each module."""
    return lzma.decompress((DATA / "market.postgres.sql.xz").read_bytes()).decode()


class OldMarket(Shop):
    """The market of the present program on the old data. Its clock stands where the data ends."""

    clock: TurnedClock

    def __init__(self, url: str, folder: Path) -> None:
        form = "sqlite" if url == "sqlite" else "postgres"
        self.facts = facts(form)
        self.answers = answers(form)
        clock = TurnedClock()
        clock.time = datetime.fromisoformat(self.facts["clock"])
        super().__init__(url, folder, clock=clock, settings=self.facts["settings"], hasher=Argon2)
        self.name = "market"
        self._people: dict[str, Person] = {}

    @asynccontextmanager
    async def run_without_background(self) -> AsyncIterator[App]:
        """Upgrade the data, and leave everything else as it is: no reader reads, no timer runs."""
        app, opened = self.made(App), stores(self.url, self.folder, self.name)
        for store in map(opened, app.modules):
            await store.open()
            await store.close()
        async with app.run(opened, subscriptions=False):
            await move_readers_home(
                list(app.event_readers), {name: running.store for name, running in app.running.items()}
            )
            yield app

    @property
    def operations(self) -> Operations:
        return self.app.operations

    async def built(self) -> None:
        """Wait until each read model is built by this program and has caught up."""

        async def is_built() -> bool:
            views = await self.operations.projections()
            return all(view.live and not view.building and not view.lag for view in views)

        await until(is_built)

    async def person(self, name: str) -> Person:
        """A person of the data, logged in; `nobody` isn't."""
        if name == "nobody":
            return self.nobody
        if name not in self._people:
            self._people[name] = await self.login(**self.facts["people"][name])
        return self._people[name]

    def turn(self, *, minutes: float) -> None:
        """Turn the clock on. Tokens may be too old then, so that people log in again."""
        self.clock.turn(seconds=60 * minutes)
        self._people.clear()

    async def ask(self, by: str, method: str, path: str, body: Any = None, key: str = "") -> Response:
        headers = {"Idempotency-Key": key} if key else None
        return await (await self.person(by)).request(method, path, body, headers)

    async def get(self, path: str) -> Any:
        """A resource as the administrator sees it."""
        answer = await self.ask("admin", "GET", path)
        assert answer.status == 200, answer.body
        return answer.json

    async def becomes(self, path: str, **wanted: Any) -> Any:
        """Wait until a resource, as the administrator sees it, has these fields; return it."""
        return await self.seen(
            await self.person("admin"), path, lambda it: all(it[name] == value for name, value in wanted.items())
        )

    async def letters(self) -> dict[str, str]:  # type: ignore[override]
        """The status of each letter."""
        return {it["id"]: it["status"] for it in (await self.get("/v1/notifications?page_size=100"))["items"]}

    def mailed(self) -> set[str]:
        """The letters that were sent by mail since the upgrade."""
        return {file.stem for file in self.mails.glob("*.eml")}

    async def cents(self, account: str) -> int:
        """The balance of one of the named accounts, in cents."""
        amount = (await self.get(f"/v1/accounts/{self.facts['accounts'][account]}"))["balance"]["amount"]
        return round(100 * float(amount))

    async def balance_becomes(self, account: str, cents: int) -> None:
        async def has_become() -> bool:
            return await self.cents(account) == cents

        await until(has_become)

    def parked_before(self, module: str) -> list[dict[str, Any]]:
        """What was parked in a module's store, the first of each key before those that wait behind it."""
        return [entry for entry in self.facts["parked"] if entry["module"] == module]

    async def parked(self, module: str) -> list[ParkedEntry]:
        return list((await self.operations.parked(module=module, paging=ALL)).items)

    async def layouts(self) -> dict[str, Any]:
        """The version of the tables of each module."""
        layout = Statement("SELECT version FROM layout", {})
        return {name: (await running.store.fetch(layout))[0]["version"] for name, running in self.app.running.items()}

    async def problems(self) -> list[str]:
        """What `craton verify` says."""
        found = await self.app.rounds.problems()
        for name, running in self.app.running.items():
            found += [f"{name}: {problem}" async for problem in running.verify()]
        return found


async def digest(app: App, module: str, events: int) -> str:
    """A digest of the first events of a module's log."""
    found = hashlib.sha256()
    async for event in app.running[module].source.stored():
        if not events:
            break
        events -= 1
        found.update(f"{event.stream} {event.version} {event.id} {event.type} {event.data}\n".encode())
    return found.hexdigest()
