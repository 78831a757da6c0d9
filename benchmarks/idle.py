"""Keeps a program from working in the background, by holding its leases."""

from pathlib import Path

from craton.adapters.stores import stores
from craton.ports import LONGEST_LEASE_SECONDS, Store
from market.modules import MODULES

Leases = dict[str, list[str]]
"""The names of leases, by module."""


async def held(url: str, data: Path, app: str) -> Leases:
    """The leases that are held now."""
    found: Leases = {}
    for name, store in _stores(url, data, app).items():
        await store.open()
        found[name] = [lease.name for lease in await store.leases() if lease.held]
        await store.close()
    return found


async def hold(leases: Leases, url: str, data: Path, app: str) -> None:
    """Hold leases for as long as a lease lasts, without doing their work. Raises `SystemExit` if one isn't free."""
    for name, store in _stores(url, data, app).items():
        await store.open()
        for lease in leases[name]:
            if await store.acquire(lease, "nobody", LONGEST_LEASE_SECONDS) is None:
                raise SystemExit(f"{name}: the lease {lease} isn't free")
        await store.close()


def _stores(url: str, data: Path, app: str) -> dict[str, Store]:
    open_store = stores(url, data, app)
    return {module.name: open_store(module.name) for module in MODULES}
