"""The topology in which the market's tests run: `pytest --topology 3`; without it, everything is one process."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

TOPOLOGIES = Path(__file__).parents[2] / "market" / "topologies"


class _Chosen:
    services: Mapping[str, Any] = {}


def choose(name: str) -> None:
    """Choose the topology of a file: `one`, `three` or `twelve`."""
    found = tomllib.loads((TOPOLOGIES / f"{name}.toml").read_text(encoding="utf-8"))
    _Chosen.services = found["services"]


def services_of(modules: Iterable[str]) -> Mapping[str, Sequence[str]] | None:
    """The services of some modules, each with its modules; None if that is only one."""
    left = dict.fromkeys(modules)
    services: dict[str, list[str]] = {}
    for name, service in _Chosen.services.items():
        if service["modules"] != "rest":
            services[name] = [module for module in service["modules"] if module in left]
    named = {module for found in services.values() for module in found}
    for name, service in _Chosen.services.items():
        if service["modules"] == "rest":
            services[name] = [module for module in left if module not in named]
    services = {name: found for name, found in services.items() if found}
    return services if len(services) > 1 else None
