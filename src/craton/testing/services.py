"""An app in a test as services of one process: they call each other, and read each other's logs, over real sockets."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from craton.adapters.http import asgi, listen_at, serving_beside
from craton.adapters.services import Hosting
from craton.ports import SharedCache, Store
from craton.runtime.app import App
from craton.runtime.topology import Topology


class Services:
    """The services of an app.

    `app` is all of them together, as a test looks at them: its calls go straight to the module, and it sees every
    store. What the modules do themselves, and what comes in by `front`, goes from service to service.
    """

    def __init__(self, app: App, parts: Mapping[str, App]) -> None:
        self.app = app
        self.parts = parts

    @cached_property
    def applications(self) -> Mapping[str, ASGIApp]:
        """What each service answers to clients, by its name."""
        return {name: asgi(part, limited=False) for name, part in self.parts.items()}

    @cached_property
    def front(self) -> ASGIApp:
        """The routes of all services under one address, as a gateway has them; without the limits of requests."""
        return _Front(self.applications, self.parts)


class _Front:
    def __init__(self, applications: Mapping[str, ASGIApp], parts: Mapping[str, App]) -> None:
        self._first = next(iter(applications.values()))
        self._routes = [
            (route.method, route.path.split("/"), applications[name])
            for name, part in parts.items()
            for module in part.modules.values()
            for route in module.routes
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts = scope["path"].split("/")
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        found = [
            (fixed, has == method, one)
            for has, route, one in self._routes
            if (fixed := _fits(route, parts)) is not None
        ]
        application = max(found, key=lambda one: one[:2])[2] if found else self._first
        await application(scope, receive, send)


def _fits(route: list[str], parts: list[str]) -> list[bool] | None:
    """Which parts of a path a route names, if it fits: the one that names the first of them is meant."""
    if len(route) != len(parts):
        return None
    fixed = [not part.startswith("{") for part in route]
    return fixed if all(a == b for a, b, is_fixed in zip(route, parts, fixed, strict=True) if is_fixed) else None


@asynccontextmanager
async def split(
    app: App,
    services: Mapping[str, Collection[str]],
    open_store: Callable[[str], Store],
    *,
    cache: SharedCache | None = None,
    **options: Any,
) -> AsyncIterator[Services]:
    """Run an app as services while the block lasts; `services` has the modules of each. The options are `App.run`'s."""
    topology = Topology.of(services).placed(app.wiring.modules)
    with TemporaryDirectory(prefix="craton-") as folder:
        hosting = Hosting(app, topology, Path(folder), environment=app.environment)
        async with AsyncExitStack() as stack:
            parts, listening = {}, {}
            for service in topology.services.values():
                place = Path(service.own_endpoint(Path(folder), 1).path)
                listening[service.name] = stack.enter_context(listen_at(place))
                peers = hosting.peers(service.name)
                stack.push_async_callback(peers.close)
                parts[service.name] = hosting.part(service, peers)
            for service in topology.services.values():
                part = parts[service.name]
                await stack.enter_async_context(part.run(open_store, cache=cache, **options))
                server = hosting.server(part, service)
                await stack.enter_async_context(serving_beside(server, listening[service.name]))
                stack.callback(server.stop)
            running = {name: module for part in parts.values() for name, module in part.running.items()}
            yield Services(app.together(running), parts)
