"""Which service answers which path, derived from the route tables of the modules."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from craton.runtime.app import App
from craton.runtime.topology import Address, Topology


class Upstream(msgspec.Struct, frozen=True):
    """A service as the gateway sees it: its paths, such as `/v1/orders/*/lines`, and its replicas."""

    service: str
    paths: tuple[str, ...]
    addresses: tuple[Address, ...]


def upstreams(app: App, topology: Topology, data: Path) -> Iterator[Upstream]:
    """The services that have routes."""
    for service in topology.services.values():
        found = {
            "/".join("*" if part.startswith("{") else part for part in route.path.split("/"))
            for module in service.modules
            for route in app.wiring.modules[module].routes
        }
        yield Upstream(service.name, tuple(sorted(found)), service.public_endpoints(data))
