"""An app in a test: in memory, with a clock that is turned, and adapters that take the place of others.

async with run(market, replace={Gateway: FakeGateway()}) as app:
    ann = app.as_("ann", "member")
    order = await ann.api(Ordering).place(…)
    await app.settled()
    await app.turn(days=1)
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from craton.adapters.http import asgi
from craton.adapters.sqlite import SqliteStore
from craton.adapters.stores import stores
from craton.application import Api, Module
from craton.application.api import OperationDefinition
from craton.application.command_keys import CommandKey
from craton.application.context import Caller, Context
from craton.application.errors import WiringError
from craton.ports import Store
from craton.runtime.app import App
from craton.runtime.commands.calls import copied, proxy
from craton.runtime.commands.results import Answer
from craton.runtime.operations.api import Operations
from craton.testing.clock import TurnedClock
from craton.testing.http import HttpClient
from craton.testing.settled import next_due, settled
from craton.testing.until import WAIT_SECONDS

if TYPE_CHECKING:
    from craton.testing.services import Services

A = TypeVar("A", bound=Api)


@asynccontextmanager
async def run(
    app: App | Module,
    *modules: Module,
    replace: Mapping[Any, Any] | None = None,
    settings: Mapping[str, str] | None = None,
    clock: TurnedClock | None = None,
    store: str = "",
    folder: Path = Path(),
    subscriptions: bool = True,
    services: Mapping[str, Collection[str]] | None = None,
) -> AsyncIterator["RunningApp"]:
    """Run an app, or modules that are put together, while the block lasts.

    `replace` has an adapter for each port whose own adapter it takes the place of. `settings` are the variables of the
    environment: those of the test's own environment don't count. The data is gone at the end, unless `store` and
    `folder` say where it is, as for `craton up`. Without `subscriptions` nothing goes on in the background. Calls are
    encoded and decoded, those of the test included, and each change of state is checked. `services` names the modules
    of each service: then they run as services that call each other over sockets, as `split` says.

    Raises `WiringError` for a port that no module has an adapter for, and what a start of the app raises.
    """
    if isinstance(app, App) and modules:
        raise WiringError(f"app {app.name} has its modules already; run takes an app, or modules")
    whole = app if isinstance(app, App) else App("test", modules=[app, *modules])
    clock = clock or TurnedClock()
    changed = whole.altered(adapters=replace or {}, environment=settings or {}, clock=clock)
    with TemporaryDirectory(prefix="craton-") as passing:
        opened = stores(store, folder, changed.name) if store else partial(_passing_store, Path(passing))
        async with AsyncExitStack() as stack:
            if services is None:
                split_up = None
                whole = await stack.enter_async_context(changed.run(opened, subscriptions=subscriptions))
            else:
                from craton.testing.services import split  # noqa: PLC0415 — it needs an extra

                split_up = await stack.enter_async_context(
                    split(changed, services, opened, subscriptions=subscriptions)
                )
                whole = split_up.app
            said = await whole.begin(empty=True)
            yield RunningApp(whole, clock, said, split_up)


def _passing_store(folder: Path, module: str) -> Store:
    return SqliteStore(folder / f"{module}.db", durable=False)


class Client:
    """A caller of the app: from outside if it has an id, otherwise the application itself."""

    def __init__(self, app: App, context: Context) -> None:
        self._app = app
        self._context = context
        self._deliver = copied(app.call)

    def api(self, api: Callable[..., A]) -> A:
        """A module's Api, called as this caller. Queries see all that was committed before they were asked.

        Raises `WiringError` when no module provides it.
        """
        self._app.api(api)  # refuses an Api that isn't there
        return proxy(api, self._call)

    def once(self, key: str) -> "Client":
        """The same caller, whose commands have this idempotency key: a repeated command has no second effect."""
        return Client(self._app, msgspec.structs.replace(self._context, key=CommandKey(key)))

    async def _call(self, operation: OperationDefinition, arguments: dict[str, Any], context: Context) -> Answer:
        own = self._context
        key = own.key if operation.kind == "command" else None
        positions = {name: await running.store.head() for name, running in self._app.running.items()}
        call = msgspec.structs.replace(context, actor=own.actor, caller=own.caller, key=key, positions=positions)
        return await self._deliver(operation, arguments, call)


class RunningApp(Client):
    """An app that runs in a test. Its own calls are those of the application itself, not of a caller from outside."""

    def __init__(self, app: App, clock: TurnedClock, said: Sequence[str], services: "Services | None" = None) -> None:
        super().__init__(app, Context())
        self._services = services
        self.app = app
        self.clock = clock
        self.said = said
        """The sentences that its start has returned, as `craton up` prints them."""

    def as_(self, id: str, *roles: str) -> Client:
        """A caller from outside, with these roles."""
        return Client(self.app, Context(actor=id, caller=Caller(id, frozenset(roles))))

    def http(self, token: str = "") -> HttpClient:
        """A client of the app's routes, in process; with an access token, if there is one."""
        client = HttpClient(asgi(self.app) if self._services is None else self._services.front)
        return client.with_token(token) if token else client

    @property
    def operations(self) -> Operations:
        """What operators see and do."""
        return self.app.operations

    async def turn(self, **duration: float) -> None:
        """Let time pass, given as to `timedelta`: all that comes due on the way is done at its own time.

        The app settles first, and then at each time at which a timer or a saga is due. A test that holds something up
        turns the clock at once instead: `clock.turn(hours=1)`.
        """
        end = self.clock.time + timedelta(**duration)
        await self.settled()
        while (due := await next_due(self.app, end)) is not None:
            self.clock.turn_to(due)
            await self.settled()
        self.clock.turn_to(end)
        await self.settled()

    async def settled(self, seconds: float = WAIT_SECONDS) -> None:
        """Wait until there is nothing left to do, as the function `settled` does."""
        await settled(self.app, seconds)
