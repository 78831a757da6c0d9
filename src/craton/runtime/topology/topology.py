"""A topology: which modules run in which service, where each is found, and where its modules keep their data."""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from craton.application.errors import WiringError

REST: Final[tuple[str, ...]] = ("*",)
"""Stands for all modules that are in no other service."""
SOCKETS: Final = "sockets"
"""The folder, within that of the data, of the sockets that have no address in the file."""
MAX_SOCKET_PATH_BYTES: Final = 100
"""A little less than what all systems allow."""


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value that stands in an environment variable."""

    env: str
    default: str | None = None

    def value(self, environment: Mapping[str, str], what: str) -> str:
        """Raises `WiringError` if the variable isn't set."""
        found = environment.get(self.env) or self.default
        if not found:
            raise WiringError(f"{what} is in the environment variable {self.env}, which isn't set")
        return found


class Address(msgspec.Struct, frozen=True):
    """Where one service, or one replica of it, is found: `http://host:port` or `unix:///path`."""

    text: str

    @property
    def is_socket(self) -> bool:
        return self.text.startswith("unix://")

    @property
    def path(self) -> str:
        """The path of a socket."""
        return self.text.removeprefix("unix://")

    @property
    def host(self) -> str:
        return urlsplit(self.text).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.text).port or 0

    @property
    def problem(self) -> str:
        """What is wrong with it; empty if nothing is."""
        if self.is_socket:
            if not self.path.startswith("/"):
                return "must be an absolute path, such as unix:///run/market/shop"
            if len(self.path.encode()) > MAX_SOCKET_PATH_BYTES:
                return f"is longer than the {MAX_SOCKET_PATH_BYTES} bytes that the path of a socket may have"
            return ""
        try:
            parts = urlsplit(self.text)
            fits = parts.scheme == "http" and bool(parts.hostname and parts.port) and not parts.path
            fits = fits and parts.username is None and not parts.query
        except ValueError:
            fits = False
        return "" if fits else "must be such as http://shop:8100 or unix:///run/market/shop"


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One service. Without an address of its own it is on this host, at a socket in the folder of the data."""

    name: str
    modules: tuple[str, ...]
    replicas: int = 1
    addresses: tuple[Address, ...] = ()
    """Where other services find it: one for each replica, or a name that stands for all of them."""
    public: tuple[Address, ...] = ()
    """Where the gateway finds it."""
    store: str | Reference = "sqlite"
    stores: Mapping[str, str | Reference] = {}
    """The stores of modules that have one of their own."""
    key: Reference | None = None
    public_key: str = ""

    def store_of(self, module: str, environment: Mapping[str, str]) -> str:
        """The URL of a module's store. Raises `WiringError` if its variable isn't set."""
        store = self.stores.get(module, self.store)
        return store if isinstance(store, str) else store.value(environment, f"the store of {module} ({self.name})")

    def endpoints(self, data: Path) -> tuple[Address, ...]:
        """Where other services find its replicas."""
        return self.addresses or tuple(self._socket(data, number, "calls") for number in self.numbers)

    def public_endpoints(self, data: Path) -> tuple[Address, ...]:
        """Where the gateway finds its replicas."""
        return self.public or tuple(self._socket(data, number, "http") for number in self.numbers)

    @property
    def numbers(self) -> range:
        """The numbers of its replicas."""
        return range(1, self.replicas + 1)

    def own_endpoint(self, data: Path, number: int) -> Address:
        """Where one replica listens for other services."""
        return _own(self.endpoints(data), number)

    def own_public_endpoint(self, data: Path, number: int) -> Address:
        """Where one replica listens for the gateway."""
        return _own(self.public_endpoints(data), number)

    def _socket(self, data: Path, number: int, what: str) -> Address:
        address = Address(f"unix://{data.resolve() / SOCKETS / f'{self.name}.{number}.{what}'}")
        if address.problem:
            raise WiringError(
                f"the path of the socket {address.path} {address.problem}: choose a folder with a shorter path for the "
                f"data (--data, CRATON_DATA), or give the service {self.name} an address"
            )
        return address


def _own(addresses: tuple[Address, ...], number: int) -> Address:
    return addresses[0] if len(addresses) == 1 else addresses[number - 1]


class GatewayPlan(msgspec.Struct, frozen=True):
    """Where the gateway listens."""

    host: str
    port: int


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """All services. `app` is the application, as module:name."""

    app: str = ""
    services: Mapping[str, Service]
    gateway: GatewayPlan | None = None

    @staticmethod
    def of(services: Mapping[str, Collection[str]]) -> "Topology":
        """Services on one host, each with the names of its modules."""
        return Topology(services={name: Service(name=name, modules=tuple(found)) for name, found in services.items()})

    def placed(self, modules: Mapping[str, object]) -> "Topology":
        """The topology with the modules of an app. Raises `WiringError` with a sentence for each that doesn't fit."""
        problems = list(self._misplaced(modules))
        if problems:
            raise WiringError("\n".join(problems))
        named = {name for service in self.services.values() for name in service.modules}
        rest = tuple(name for name in modules if name not in named)
        services = {
            name: msgspec.structs.replace(service, modules=rest) if service.modules is REST else service
            for name, service in self.services.items()
        }
        return msgspec.structs.replace(self, services=services)

    def _misplaced(self, modules: Mapping[str, object]) -> Iterator[str]:
        named: set[str] = set()
        has_rest = False
        for service in self.services.values():
            if service.modules is REST:
                has_rest = True
                continue
            named |= set(service.modules)
            for name in service.modules:
                if name not in modules:
                    yield (
                        f"[services.{service.name}] has the module {name}, and the app has none of that name; it has: "
                        f"{', '.join(modules)}"
                    )
        left = [name for name in modules if name not in named]
        if left and not has_rest:
            yield f'no service has the modules {", ".join(left)}; list them, or say modules = "rest" in one service'
        if not left and has_rest:
            yield 'modules = "rest" stands for nothing: all modules are in other services'
        for service in self.services.values():
            for name in service.stores:
                if name not in modules:
                    yield f"[services.{service.name}] stores.{name} is for no module of the app"

    def service_of(self, module: str) -> Service:
        return next(service for service in self.services.values() if module in service.modules)

    def service(self, name: str) -> Service:
        """Raises `WiringError` if there is none of that name."""
        if name not in self.services:
            raise WiringError(f"there is no service {name!r} in the topology; there are: {', '.join(self.services)}")
        return self.services[name]

    def unshared(
        self, environment: Mapping[str, str], is_shared: Callable[[str], bool], only: str | None = None
    ) -> Iterator[str]:
        """Yield a sentence for each service, or for `only` one, whose replicas can't share a store."""
        for service in self.services.values():
            if only not in (None, service.name):
                continue
            for module in service.modules if service.replicas > 1 else ():
                if not is_shared(service.store_of(module, environment)):
                    yield (
                        f"{service.name} has {service.replicas} replicas, which can't share the store of {module}: "
                        "each would need a file of its own. Use Postgres, or one replica"
                    )
                    break

    def unfit_for_one_host(self) -> Iterator[str]:
        """Yield a sentence for each service whose replicas would listen at one address of this host."""
        for service in self.services.values():
            for addresses in (service.addresses, service.public):
                if service.replicas > 1 and len(addresses) == 1:
                    yield (
                        f"the {service.replicas} replicas of {service.name} can't all listen at {addresses[0].text} on "
                        "one host: give each an address, or none, so that they use sockets"
                    )
