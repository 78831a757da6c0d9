"""Stores by URL."""

import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from craton.application.errors import WiringError
from craton.ports import SharedCache, Store
from craton.runtime.topology import Topology

POSTGRES = ("postgresql://", "postgres://")

OpenStore = Callable[[str], Store]
"""Makes the store of a module from the module's name."""


def is_shared(url: str) -> bool:
    """Whether several processes can use a store together."""
    return url.startswith(POSTGRES)


def shared_cache(url: str) -> SharedCache | None:
    """The cache at a URL; None without one. Raises `WiringError` for a URL that doesn't fit."""
    if not url:
        return None
    if importlib.util.find_spec("redis") is None:
        raise WiringError("the cache needs Redis's client: pip install craton[redis]")
    from craton.adapters.redis import RedisCache  # noqa: PLC0415

    return RedisCache(url)


def store_urls(topology: Topology, environment: Mapping[str, str], only: str | None = None) -> dict[str, str]:
    """The URL of the store of each module, or of those of one service. Raises `WiringError` if a variable isn't set."""
    return {
        module: service.store_of(module, environment)
        for service in topology.services.values()
        for module in service.modules
        if only in (None, service.name)
    }


def stores_of(
    topology: Topology, environment: Mapping[str, str], data: Path, app: str, only: str | None = None
) -> OpenStore:
    """Return the function that makes each module's store where the topology has it. Raises `WiringError`."""
    urls = store_urls(topology, environment, only)
    made = {url: stores(url, data, app) for url in dict.fromkeys(urls.values())}
    return lambda module: made[urls[module]](module)


def stores(url: str, data: Path, app: str) -> OpenStore:
    """Return the function that makes a module's store from the module's name.

    `sqlite` keeps a file for each module in the folder `data`, `memory` keeps data only while the process runs, and a
    `postgresql://` URL uses a schema `<app>_<module>` for each. Raises `WiringError` for anything else.
    """
    if url == "sqlite":
        from craton.adapters.sqlite import SqliteStore  # noqa: PLC0415 — only what is used is imported

        return lambda module: SqliteStore(data / f"{module}.db")
    if url == "memory":
        from craton.adapters.sqlite import SqliteStore  # noqa: PLC0415

        folder = tempfile.TemporaryDirectory(prefix="craton-")  # removed with the function that holds it
        return lambda module: SqliteStore(Path(folder.name) / f"{module}.db", durable=False)
    if url.startswith(POSTGRES):
        if importlib.util.find_spec("asyncpg") is None:
            raise WiringError("Postgres needs its driver: pip install craton[postgres]")
        from craton.adapters.postgres import PostgresDatabase, PostgresStore  # noqa: PLC0415

        database = PostgresDatabase(url)
        return lambda module: PostgresStore(database, f"{app}_{module}")
    raise WiringError("the store must be sqlite, memory or a postgresql:// URL")
