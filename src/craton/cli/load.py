"""What every command needs: the application, its stores, and errors as sentences."""

import asyncio
import importlib
import importlib.util
import logging
import os
import sys
import traceback
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO

import structlog
import structlog.tracebacks
from rich.console import Console

from craton.adapters.stores import OpenStore, is_shared, shared_cache, stores, stores_of
from craton.application.context import context_var
from craton.application.errors import CallFailed, MisuseError, WiringError
from craton.ports import Store, StoreUnavailable
from craton.runtime.app import App
from craton.runtime.process.places import is_authors
from craton.runtime.settings import ToolkitSettings, masked
from craton.runtime.topology import Topology, read_topology

PIPE_WIDTH = 200
"""The width of tables in a pipe, so that a reader of the pipe finds each cell in one piece."""

out = Console(
    soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PIPE_WIDTH
)
err = Console(stderr=True, soft_wrap=True, highlight=False)

_WHERE = "name one as module:name, with --app, in CRATON_APP or as `app` in [tool.craton]"

WRONG_USE = 2
FAILED = 1


def fail(sentence: str, code: int = FAILED) -> NoReturn:
    """Say what is wrong, in one sentence, and exit."""
    err.print(sentence, style="red", markup=False)
    raise SystemExit(code)


def settings(**flags: Any) -> ToolkitSettings:
    """The toolkit's settings. A topology names its application, unless a flag or a variable does."""
    try:
        chosen = ToolkitSettings(flags)
        if chosen["topology"] and chosen.source("app") in ("default", "pyproject.toml"):
            chosen = ToolkitSettings({**flags, "app": read_topology(Path(chosen["topology"])).app})
    except WiringError as problem:
        fail(f"{_capital(str(problem))}.", WRONG_USE)
    return chosen


def load_app(name: str) -> App:
    """Import `module:name`. Exits with a sentence when there is no such application."""
    try:
        return import_app(name)
    except LookupError as problem:
        fail(f"{problem}.", WRONG_USE)


def load_topology(file: Path, app: App, only: str | None = None) -> Topology:
    """Read a topology for an app. Exits with a sentence for each mistake. `only`: the one service that is to run."""
    try:
        topology = read_topology(file)
    except WiringError as problem:
        fail(f"{problem}.", WRONG_USE)
    try:
        topology = topology.placed(app.wiring.modules)
        problems = list(topology.unshared(os.environ, is_shared, only))
    except WiringError as problem:
        fail("\n".join(f"{file}: {line}." for line in str(problem).splitlines()), WRONG_USE)
    if problems:
        fail("\n".join(f"{file}: {problem}." for problem in problems), WRONG_USE)
    return topology


def import_app(name: str) -> App:
    """Import `module:name`. Raises `LookupError` with a sentence when there is no such application."""
    if not name:
        raise LookupError(f"No application is named: {_WHERE}")
    module, _, attribute = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), attribute or "app")
    except (ImportError, AttributeError, ValueError) as problem:
        raise LookupError(f"The application {name!r} can't be loaded ({_WHERE}): {problem}") from problem
    except Exception as problem:
        why = str(problem) if isinstance(problem, WiringError) else f"{type(problem).__name__}: {problem}"
        raise LookupError(f"The application {name!r} can't be put together: {why}") from problem
    if not isinstance(found, App):
        raise LookupError(f"{name!r} is no App, but a {type(found).__name__}")
    return found


def require_module(app: App, name: str) -> None:
    """Exit with a sentence unless this process runs such a module of the application."""
    if name not in app.running:
        fail(f"There is no module {name!r}; there are: {', '.join(app.running)}.", WRONG_USE)


@asynccontextmanager
async def running(chosen: ToolkitSettings, *, subscriptions: bool, existing: bool = True) -> AsyncIterator[App]:
    """Run the chosen application in its stores, which must be there already if `existing`."""
    app = load_app(chosen["app"])
    try:
        if chosen["topology"] and chosen.source("store") == "flag":
            fail("--store doesn't go with a topology, whose file says where the data is (CRATON_TOPOLOGY).", WRONG_USE)
        if chosen["topology"]:
            topology = load_topology(Path(chosen["topology"]), app)
            open_store = stores_of(topology, os.environ, chosen.data, app.name)
        else:
            open_store = stores(chosen["store"], chosen.data, app.name)
    except WiringError as problem:
        fail(f"{_capital(str(problem))} ({chosen.source('store')}).", WRONG_USE)
    missing = await _without_data(app, open_store) if existing else []
    if missing:
        where = chosen.data if chosen["store"] == "sqlite" else masked(chosen["store"])
        fail(
            f"There is no data of {', '.join(missing)} in {where}: choose another place with --data or --store "
            f"(CRATON_DATA, CRATON_STORE), name the topology if there is one (CRATON_TOPOLOGY), or run `craton up`, "
            f"which creates it.",
            WRONG_USE,
        )
    async with run(app, open_store, chosen, subscriptions=subscriptions):
        yield app


@asynccontextmanager
async def run(
    app: App, open_store: OpenStore, chosen: ToolkitSettings, *, subscriptions: bool = True
) -> AsyncIterator[None]:
    """Run an application in its stores, by the settings. Without `subscriptions` it is only looked at."""
    cache = shared_cache(chosen["cache"]) if subscriptions else None
    options = {"subscriptions": subscriptions, "looking": not subscriptions}
    try:
        async with app.run(open_store, **options, retention=chosen.retention, cache=cache):
            yield
    finally:
        if cache is not None:
            await cache.close()


async def _without_data(app: App, open_store: Callable[[str], Store]) -> list[str]:
    """The modules whose stores don't exist yet; all stores are asked at the same time, over the same connections."""
    exist = await asyncio.gather(*(open_store(name).exists() for name in app.modules))
    return [name for name, exists in zip(app.modules, exist, strict=True) if not exists]


def execute(work: Callable[[], Coroutine[Any, Any, int | None]], level: str, *, worker: int | None = None) -> None:
    """Run a command to its exit code; print an error as a sentence. `worker` is the number of this process, if it is
    one of several."""
    set_up_logging(level, worker)
    try:
        code = _run(work())
    except StoreUnavailable as problem:
        fail(str(problem))
    except (WiringError, MisuseError, CallFailed) as problem:
        fail(f"{_capital(str(problem)).rstrip('.')}.")
    except KeyboardInterrupt:
        code = 0
    raise SystemExit(code or 0)


def set_up_logging(level: str, worker: int | None = None) -> None:
    """Write one line for each event to stderr: readable on a terminal, JSON elsewhere. A worker's has its number."""

    def numbered(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line["worker"] = worker
        return line

    renderer: Any = (
        structlog.dev.ConsoleRenderer(exception_formatter=_brief_traceback)
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    warnings.showwarning = _log_warning
    structlog.configure(
        processors=[
            *([] if worker is None else [numbered]),
            _correlated,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if sys.stderr.isatty() else [_tracebacks()]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _log_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Write Python's warnings, such as a call that was never awaited, as lines of the log."""
    structlog.get_logger("craton.python").warning(str(message), kind=category.__name__, where=f"{filename}:{lineno}")


def _brief_traceback(stream: TextIO, raised: Any) -> None:
    """The traceback without frames of the toolkit and of libraries, unless it has no others."""
    told = traceback.TracebackException(*raised)
    part: traceback.TracebackException | None = told
    while part is not None:
        authors = [frame for frame in part.stack if is_authors(frame.filename)]
        if authors:
            part.stack = traceback.StackSummary.from_list(authors)
        part = part.__cause__ or part.__context__
    print("", *told.format(), file=stream, sep="", end="")


def _correlated(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the id that the client received as Craton-Request-Id to each line of a request and of all that it causes."""
    current = context_var.get()
    if current.id:
        line["correlation"] = current.correlation or current.id
    return line


def _tracebacks() -> Any:
    """Tracebacks as data, without the values of local variables: they may be secrets."""
    transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return structlog.processors.ExceptionRenderer(transformer)


def _run(work: Coroutine[Any, Any, int | None]) -> int | None:
    """Run on uvloop where it is present; it is never required."""
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.run(work)
    loop_factory = importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(work)


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
