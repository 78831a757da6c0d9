"""craton check: what would fail later is said now."""

import ast
import asyncio
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from craton.adapters.http import asgi, wrong_routes
from craton.adapters.stores import stores
from craton.application.errors import MisuseError, WiringError
from craton.application.module import Module
from craton.cli.loading import FAILED, load_app, out, settings
from craton.cli.options import AppName
from craton.ports import StoreUnavailable
from craton.runtime.app import App


def check(app: AppName = None) -> None:
    """Check module boundaries, API signatures, routes, upcasters and projections; a sentence for each problem."""
    loaded = load_app(settings(app=app)["app"])
    problems = [*loaded.problems(), *wrong_routes(loaded), *_boundaries(loaded)]
    if not problems:
        problems = asyncio.run(_start(loaded))
    for problem in problems:
        out.print(problem, markup=False)
    if problems:
        raise SystemExit(FAILED)
    out.print(f"{loaded.name}: {len(loaded.modules)} module(s), nothing to complain about.")


async def _start(app: App) -> list[str]:
    """Start it in stores that forget, without anything that goes on in the background; return what is said instead."""
    try:
        async with app.run(stores("memory", Path(), app.name), subscriptions=False):
            await _describe(asgi(app))
    except (WiringError, MisuseError, StoreUnavailable) as problem:
        return [str(problem)]
    except Exception as problem:
        return [f"app {app.name} can't be started: {type(problem).__name__}: {problem}"]
    return []


async def _describe(application: Any) -> None:
    """Have the API's description made, as whoever looks at it first does."""

    async def hear(_: Any) -> None:
        """What is answered is of no concern."""

    scope = {"type": "http", "method": "GET", "path": "/openapi.json", "headers": [], "query_string": b""}
    await application(scope, None, hear)


def _boundaries(app: App) -> Iterator[str]:
    packages = {package: module.name for module in app.modules.values() if (package := _package(module))}
    for package, name in packages.items():
        folder = Path(importlib.import_module(package).__path__[0])  # a package without an __init__ has no __file__
        for path in sorted(folder.rglob("*.py")):
            for imported, line in _imports(path, _package_of(path, folder, package)):
                where = f"{path}:{line}"
                for other, other_name in packages.items():
                    if other != package and _inside(imported, other) and not _inside(imported, f"{other}.api"):
                        yield f"{where}: module {name} imports {imported}; of {other_name} it may import only its api"
                if path.name == "domain.py" and not _pure(imported, package):
                    yield f"{where}: a domain imports only the standard library and craton.domain, not {imported}"


def _package(module: Module) -> str:
    return module.service.__module__.rpartition(".")[0]


def _package_of(path: Path, folder: Path, package: str) -> str:
    """The package that a file's relative imports begin at."""
    return ".".join([package, *path.relative_to(folder).parent.parts])


def _inside(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _pure(imported: str, package: str) -> bool:
    root = imported.partition(".")[0]
    return (
        root in sys.stdlib_module_names or _inside(imported, "craton.domain") or _inside(imported, f"{package}.domain")
    )


def _imports(path: Path, package: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{base}.{alias.name}", node.lineno
