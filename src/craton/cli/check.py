"""craton check: finds at build time what would fail at run time."""

import asyncio
from collections.abc import Callable, Iterator
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from craton.adapters.http import asgi, wrong_routes
from craton.adapters.stores import stores
from craton.application.errors import MisuseError, WiringError
from craton.cli.boundaries import wrong_imports
from craton.cli.load import FAILED, load_app, load_topology, out, settings
from craton.cli.lock import read_lock
from craton.cli.map_picture import svg
from craton.cli.map_text import mermaid, remote_edges, text
from craton.cli.options import AppName
from craton.ports import StoreUnavailable
from craton.runtime.app import App
from craton.runtime.compatibility.lock import Lock, Severity, differences
from craton.runtime.module_map import ModuleMap


class MapFormat(StrEnum):
    TEXT = "text"
    MERMAID = "mermaid"
    SVG = "svg"


_WRITTEN: Final[dict[MapFormat, Callable[[ModuleMap], str]]] = {
    MapFormat.TEXT: text,
    MapFormat.MERMAID: mermaid,
    MapFormat.SVG: svg,
}


def check(
    app: AppName = None,
    map_: Annotated[
        bool, typer.Option("--map", help="Print the map of the modules: what they offer, call, and listen to.")
    ] = False,
    format_: Annotated[MapFormat, typer.Option("--format", help="The format of the map.")] = MapFormat.TEXT,
    topology: Annotated[
        str | None, typer.Option(help="Check this topology, too, and print what becomes remote in it.")
    ] = None,
    lock: Annotated[
        bool, typer.Option("--lock", help="Compare with craton.lock; say what an upgrade must heed, or what breaks.")
    ] = False,
) -> None:
    """Check module boundaries, API signatures, routes, upcasters and projections; print a sentence for each problem."""
    chosen = settings(app=app, topology=topology)
    loaded = load_app(chosen["app"])
    plan = load_topology(Path(chosen["topology"]), loaded) if chosen["topology"] else None
    problems = [*loaded.wiring.problems(), *wrong_routes(loaded), *wrong_imports(loaded), *_cycle(loaded.wiring.map)]
    if not problems:
        problems = asyncio.run(_start(loaded))
    for problem in problems:
        out.print(problem, markup=False)
    if problems:
        raise SystemExit(FAILED)
    if lock:
        _compare(loaded, read_lock())
    if plan is not None:
        finds = None if loaded.authenticate is None else loaded.wiring.owner_of[loaded.authenticate.api]
        for line in remote_edges(loaded.wiring.map, plan, finds):
            out.print(line, markup=False)
    if map_:
        out.print(_WRITTEN[format_](loaded.wiring.map), markup=False)
    else:
        out.print(f"{loaded.name}: {len(loaded.modules)} module(s), no problems found.")


def _compare(app: App, locked: Lock) -> None:
    """Print what has changed since the lock was written. Exits with an error if a change is breaking."""
    found = sorted(differences(locked, app.wiring), key=lambda difference: -difference.severity)
    for difference in found:
        out.print(f"{difference.severity.words}: {difference.sentence}.", markup=False)
    worst = max((difference.severity for difference in found), default=Severity.COMPATIBLE)
    out.print(f"The upgrade is {worst.words}.")
    if worst is Severity.BREAKING:
        raise SystemExit(FAILED)


def _cycle(module_map: ModuleMap) -> Iterator[str]:
    """Yield a sentence if modules call each other in a circle: none of them could be understood or moved alone."""
    cycle = module_map.cycle()
    if cycle:
        calls = [
            f"{source} calls {target} ({', '.join(module_map.between(source, target))})"
            for source, target in pairwise(cycle)
        ]
        yield (
            f"the modules {' → '.join(cycle)} call each other in a circle: {', '.join(calls)}; "
            "replace one of the calls by a policy that listens to the other module's events"
        )


async def _start(app: App) -> list[str]:
    """Start the app in memory stores, without its background tasks; return the sentences of what can't be started."""
    try:
        async with app.run(stores("memory", Path(), app.name), subscriptions=False):
            await _describe(asgi(app))
    except (WiringError, MisuseError, StoreUnavailable) as problem:
        return [str(problem)]
    except Exception as problem:
        return [f"app {app.name} can't be started: {type(problem).__name__}: {problem}"]
    return []


async def _describe(application: Any) -> None:
    """Build the API's description, as the first request for it does."""

    async def hear(_: Any) -> None:
        """Ignores the answer."""

    scope = {"type": "http", "method": "GET", "path": "/openapi.json", "headers": [], "query_string": b""}
    await application(scope, None, hear)
