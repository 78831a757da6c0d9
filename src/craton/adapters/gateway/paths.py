"""Which service answers which path, derived from the route tables of the modules."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from craton.runtime.app import App
from craton.runtime.topology import Address, Topology


class Upstream(msgspec.Struct, frozen=True):
    """A service as the gateway sees it: its replicas, and its paths, such as `/v1/orders/*/lines`, with the methods of
    each."""

    service: str
    paths: Mapping[str, frozenset[str]]
    addresses: tuple[Address, ...]


def upstreams(app: App, topology: Topology, data: Path) -> Iterator[Upstream]:
    """The services that have routes."""
    for service in topology.services.values():
        found: dict[str, set[str]] = {}
        for module in service.modules:
            for route in app.wiring.modules[module].routes:
                path = "/".join("*" if part.startswith("{") else part for part in route.path.split("/"))
                methods = ("GET", "HEAD") if route.method == "GET" else (route.method,)
                found.setdefault(path, set()).update(methods)
        paths = {path: frozenset(found[path]) for path in sorted(found)}
        yield Upstream(service.name, paths, service.public_endpoints(data))
