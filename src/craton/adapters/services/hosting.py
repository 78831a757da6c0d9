"""A service of a topology: its part of the app, the way to the other services, and what it answers to them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from craton.adapters.services.client import Peers
from craton.adapters.services.identity import Sign, Signer, Verifier, named, naming
from craton.adapters.services.server import ServicesServer
from craton.application.errors import WiringError
from craton.runtime.app import App
from craton.runtime.topology import Service, Topology
from craton.runtime.topology.links import links

OUTSIDE: Final = "craton"
"""The name by which the command line calls services on its own host, for instance to add demo data."""


class Hosting:
    """Makes what the services of a topology consist of. `topology` is placed: it names the modules of the app."""

    def __init__(
        self,
        app: App,
        topology: Topology,
        data: Path,
        *,
        environment: Mapping[str, str] = os.environ,
        caller_seconds: float = 0.0,
    ) -> None:
        self._app = app
        self._topology = topology
        self._data = data
        self._environment = environment
        self._caller_seconds = caller_seconds

    def part(self, service: Service, peers: Peers) -> App:
        """A service's part of the app."""
        return self._app.part(service.modules, peers, caller_seconds=self._caller_seconds)

    def outside(self, peers: Peers) -> App:
        """The app as the command line calls it: no module of it runs here."""
        return self._app.part((), peers)

    def peers(self, name: str) -> Peers:
        """The services as the service `name` reaches them. Raises `WiringError`."""
        services = self._topology.services
        return Peers(
            name,
            {other.name: other.endpoints(self._data) for other in services.values()},
            {module: other.name for other in services.values() for module in other.modules},
            self._sign(name),
        )

    def server(self, part: App, service: Service) -> ServicesServer:
        """What a service answers to the others. Raises `WiringError`."""
        authenticate = self._app.authenticate
        asked_by_all = [] if authenticate is None else [self._app.wiring.owner_of[authenticate.api]]
        allowed = links(self._app.wiring, self._topology, frozenset(asked_by_all))
        if self._is_networked:
            keys = {other.name: other.public_key for other in self._topology.services.values()}
            return ServicesServer(part, allowed, Verifier(service.name, keys))
        return ServicesServer(part, allowed, named, trusted=OUTSIDE)

    @property
    def _is_networked(self) -> bool:
        """Whether any service is reached over the network, so that all of them prove which they are."""
        found = [address for service in self._topology.services.values() for address in service.endpoints(self._data)]
        return any(not address.is_socket for address in found)

    def _sign(self, name: str) -> Sign:
        if not self._is_networked:
            return naming(name)
        service = self._topology.services.get(name)
        if service is None or service.key is None:
            raise WiringError(f"{name} has no key, by which it could prove to the services which it is")
        key = service.key.value(self._environment, f"the key of {name}")
        return Signer(name, key, service.public_key)
