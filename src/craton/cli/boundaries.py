"""What the files of a module may import: of another module only api.py and events.py; in its domain only pure code."""

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from craton.application.module import Module
from craton.runtime.app import App

PUBLIC: Final = ("events", "api")
PURE_FILES: Final = ("domain.py", "events.py")


def wrong_imports(app: App) -> Iterator[str]:
    """Yield a sentence for each import of a file of another module that isn't api.py or events.py."""
    packages = {package: module.name for module in app.modules.values() if (package := _package(module))}
    for package, name in packages.items():
        folder = Path(importlib.import_module(package).__path__[0])  # a package without an __init__ has no __file__
        for path in sorted(folder.rglob("*.py")):
            for imported, line in _imports(path, _package_of(path, folder, package)):
                where = f"{path}:{line}: module {name}"
                for other, other_name in packages.items():
                    if other != package and _inside(imported, other) and not _is_public(imported, other):
                        yield (
                            f"{where} imports {imported}; of {other_name} it may import what is in its events.py and "
                            f"its api.py, and nothing else"
                        )
                if path.parent == folder and path.name in PURE_FILES and not _is_pure(imported, packages):
                    yield (
                        f"{where}: {path.name} imports {imported}; it may import the standard library, craton.domain "
                        f"and the modules' events, and nothing else"
                    )


def _package(module: Module) -> str:
    return module.service.__module__.rpartition(".")[0]


def _package_of(path: Path, folder: Path, package: str) -> str:
    """The package from which a file's relative imports are resolved."""
    return ".".join([package, *path.relative_to(folder).parent.parts])


def _inside(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _is_public(imported: str, package: str) -> bool:
    return any(_inside(imported, f"{package}.{file}") for file in PUBLIC)


def _is_pure(imported: str, packages: dict[str, str]) -> bool:
    root = imported.partition(".")[0]
    return (
        root in sys.stdlib_module_names
        or _inside(imported, "craton.domain")
        or any(_inside(imported, f"{package}.events") for package in packages)
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
