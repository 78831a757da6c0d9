"""Reads a topology file. Everything that isn't understood is refused in a sentence."""

import base64
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from craton.application.errors import WiringError
from craton.runtime.topology.topology import REST, Address, GatewayPlan, Reference, Service, Topology

T = TypeVar("T")

LATER: Final = {"broker": "a broker", "tracing": "tracing"}
"""Sections of the file that the design has, and that nothing carries out yet."""
MAX_REPLICAS: Final = 64
RESERVED: Final = ("craton", "gateway")
"""Names that no service may have: the command line and the gateway have them."""

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,39}").fullmatch
_UNKNOWN: Final = re.compile(r"Object contains unknown field `([^`]*)`(?: - at `\$\.?(.*)`)?").fullmatch
_MISSING: Final = re.compile(r"Object missing required field `([^`]*)`.*").fullmatch
_EXPECTED: Final = {
    "modules": 'a list of names, such as ["catalog"], or "rest"',
    "replicas": "a whole number",
    "listen": "a port, such as 8000",
    "address": "a text or a list of texts",
    "public": "a text or a list of texts",
    "store": 'a text, or { env = "…" }',
    "key": 'the name of a variable, { env = "…" }: a private key never stands in the file',
}
_WRONG: Final = re.compile(r"(.*?)(?: - at `\$\.?(.*)`)?", re.DOTALL).fullmatch
_POSTGRES: Final = ("postgresql://", "postgres://")
_ED25519: Final = bytes.fromhex("302a300506032b6570032100")
"""What an Ed25519 public key in DER begins with (RFC 8410)."""
_PASSWORD: Final = re.compile(r"://[^/@]*:[^/@]*@").search


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file."""


class _Defaults(_Strict, frozen=True):
    store: str | Reference | None = None


class _Service(_Strict, frozen=True):
    modules: tuple[str, ...] | Literal["rest"]
    replicas: int = 1
    address: str | tuple[str, ...] = ()
    public: str | tuple[str, ...] = ()
    store: str | Reference | None = None
    stores: dict[str, str | Reference] = {}
    key: Reference | None = None
    public_key: str = ""


class _Gateway(_Strict, frozen=True):
    listen: int
    kind: str = "caddy"
    host: str = "127.0.0.1"


def read_topology(path: Path) -> Topology:
    """Read a topology file. Raises `WiringError` with a sentence for each mistake."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise WiringError(f"the topology {path} can't be read: {problem}") from problem
    reading = _Reading(found)
    if reading.problems:
        raise WiringError("\n".join(f"{path}: {problem}" for problem in reading.problems))
    return reading.topology


class _Reading:
    """One file, as far as it can be understood."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self.problems: list[str] = []
        sections = {"app", "defaults", "services", "gateway", *LATER}
        for name in found:
            if name in LATER:
                self._refuse(f"[{name}] is for {LATER[name]}, which a topology can't have yet; take the section away")
            elif name not in sections:
                self._refuse(f"there is no {name!r} in a topology; there are: {', '.join(sorted(sections - {*LATER}))}")
        self._app = self._text(found.get("app"), 'app names the application, such as app = "market.app:app"')
        defaults = self._table(found.get("defaults", {}), _Defaults, "[defaults]") or _Defaults()
        services = found.get("services")
        if not isinstance(services, dict) or not services:
            self._refuse('it needs services, such as [services.shop] with modules = ["ordering"]')
            services = {}
        self._services = {name: self._service(name, table, defaults) for name, table in services.items()}
        self._gateway = self._read_gateway(found["gateway"]) if "gateway" in found else None
        for problem in self._between(tuple(filter(None, self._services.values()))):
            self._refuse(problem)

    @property
    def topology(self) -> Topology:
        services = {name: service for name, service in self._services.items() if service is not None}
        return Topology(app=self._app, services=services, gateway=self._gateway)

    def _refuse(self, problem: str) -> None:
        self.problems.append(problem)

    def _text(self, value: Any, expected: str) -> str:
        if isinstance(value, str) and value:
            return value
        self._refuse(expected)
        return ""

    def _table(self, table: Any, kind: type[T], where: str) -> T | None:
        try:
            return msgspec.convert(table, kind)
        except msgspec.ValidationError as problem:
            self._refuse(f"{where} {_sentence(str(problem), kind)}")
            return None

    def _service(self, name: str, table: Any, defaults: _Defaults) -> Service | None:
        where = f"[services.{name}]"
        if not _NAME(name):
            self._refuse(f"{where}: the name of a service has small letters, digits and dashes, 40 at most")
        if name in RESERVED:
            self._refuse(f"{where}: {name} is a name of the toolkit's own; choose another")
        entry = self._table(table, _Service, where)
        if entry is None:
            return None
        mistakes = list(_mistakes(entry))
        for mistake in mistakes:
            self._refuse(f"{where} {mistake}")
        if mistakes:
            return None
        return Service(
            name=name,
            modules=REST if entry.modules == "rest" else entry.modules,
            replicas=entry.replicas,
            addresses=tuple(map(Address, _listed(entry.address))),
            public=tuple(map(Address, _listed(entry.public))),
            store=entry.store or defaults.store or "sqlite",
            stores=entry.stores,
            key=entry.key,
            public_key=entry.public_key,
        )

    def _read_gateway(self, table: Any) -> GatewayPlan | None:
        entry = self._table(table, _Gateway, "[gateway]")
        if entry is None:
            return None
        if entry.kind != "caddy":
            self._refuse(f'[gateway] kind must be "caddy", not {entry.kind!r}: no other gateway is configured yet')
        if not 0 <= entry.listen <= 65_535:
            self._refuse(f"[gateway] listen must be a port from 0 to 65535, not {entry.listen}")
        return GatewayPlan(host=entry.host, port=entry.listen)

    def _between(self, services: tuple[Service, ...]) -> Iterator[str]:
        """Yield a sentence for each pair of services that don't fit."""
        placed: dict[str, str] = {}
        for service in services:
            for module in service.modules if service.modules is not REST else ():
                if module in placed:
                    yield f"the module {module} is in {placed[module]} and in {service.name}; a module has one service"
                placed[module] = service.name
            for module in service.stores:
                if service.modules is not REST and module not in service.modules:
                    yield f"[services.{service.name}] stores.{module} is for a module that isn't in this service"
        rest = [service.name for service in services if service.modules is REST]
        if len(rest) > 1:
            yield f"only one service can have the rest of the modules, not {' and '.join(rest)}"
        taken: dict[str, str] = {}
        for service in services:
            for address in (*service.addresses, *service.public):
                if address.text in taken:
                    yield f"the address {address.text} is used twice: by {taken[address.text]} and {service.name}"
                taken[address.text] = service.name
            if any(not address.is_socket for address in service.addresses):
                yield from self._unproven(service)

    def _unproven(self, service: Service) -> Iterator[str]:
        """A network may be used by others, so that services must prove there which they are."""
        for other in filter(None, self._services.values()):
            if other.key is None or not other.public_key:
                yield (
                    f"[services.{service.name}] is reached over the network, where services prove which they are: "
                    f"give {other.name} a key = {{ env = … }} with its private Ed25519 key, and its public_key"
                )


def _mistakes(entry: _Service) -> Iterator[str]:
    addresses, public = _listed(entry.address), _listed(entry.public)
    if not entry.modules:
        yield 'has no modules; list them, or say modules = "rest"'
    if not 1 <= entry.replicas <= MAX_REPLICAS:
        yield f"has {entry.replicas} replicas; there can be 1 to {MAX_REPLICAS}"
    for what, texts in (("address", addresses), ("public", public)):
        for text in texts:
            if problem := Address(text).problem:
                yield f"{what}: {text!r} {problem}"
        given = entry.address if what == "address" else entry.public
        if texts and not isinstance(given, str) and len(texts) != entry.replicas:
            yield f"has {entry.replicas} replicas and {len(texts)} addresses in {what!r}; give one address, or one each"
    if entry.public_key and not _is_public_key(entry.public_key):
        yield "public_key must be the text between the lines that openssl pkey -pubout writes for its Ed25519 key"
    if len(set(entry.modules)) < len(entry.modules) and entry.modules != "rest":
        yield "lists a module twice"
    stores = [("store", entry.store), *((f"stores.{name}", store) for name, store in entry.stores.items())]
    for name, store in stores:
        if isinstance(store, str) and not (store in ("sqlite", "memory") or store.startswith(_POSTGRES)):
            yield f'{name} must be sqlite, memory, a postgresql:// URL or {{ env = "…" }}, not {store.split("@")[-1]!r}'
        elif isinstance(store, str) and _PASSWORD(store):
            yield f'{name} holds a password; name an environment variable instead: {name} = {{ env = "…" }}'


def _is_public_key(text: str) -> bool:
    """Whether a text is an Ed25519 key in the form that openssl pkey -pubout writes between its lines."""
    try:
        wire = base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return wire.startswith(_ED25519) and len(wire) == len(_ED25519) + 32


def _listed(texts: str | tuple[str, ...]) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else texts


def _sentence(problem: str, kind: Any) -> str:
    """A mistake in a table, as the end of a sentence."""
    if unknown := _UNKNOWN(problem):
        place = f"{unknown[2]}." if unknown[2] else ""
        known = "env, default" if place else ", ".join(kind.__struct_fields__)
        return f"has no key {place}{unknown[1]}; there are: {known}"
    if missing := _MISSING(problem):
        return f"needs {missing[1]}"
    told = _WRONG(problem)
    if told and told[2] in _EXPECTED:
        return f"has a wrong {told[2]}: it must be {_EXPECTED[told[2]]}"
    where = f" at {told[2]}" if told and told[2] else ""
    return f"isn't understood{where}: {told[1] if told else problem}"
