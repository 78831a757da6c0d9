"""craton up: serve the application."""

import asyncio
import faulthandler
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer

from craton.adapters.http import asgi, listen, origins_of, serve
from craton.adapters.stores import is_shared, store_urls
from craton.application.errors import WiringError
from craton.cli.load import WRONG_USE, execute, fail, load_app, load_topology, out, running, settings
from craton.cli.options import Data, StoreUrl
from craton.cli.procedures import Procedures, are_served, procedures
from craton.cli.workers import Supervisor, Worker
from craton.ports.crash import arm_from_environment
from craton.runtime.app import App
from craton.runtime.process.garbage import collect_rarely
from craton.runtime.process.watchdog import watched
from craton.runtime.settings import ToolkitSettings, masked

STOP_SECONDS: Final = 10.0
"""A process ends within this time of the signal to stop. At the end of it the process logs what is still running."""


def up(
    app: Annotated[
        str | None, typer.Argument(help="The application, as module:name; with --topology, the one service to run.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.")] = None,
    data: Data = None,
    store: StoreUrl = None,
    workers: Annotated[int | None, typer.Option(help="How many processes serve; more than one needs Postgres.")] = None,
    topology: Annotated[str | None, typer.Option(help="The file that says which modules run in which service.")] = None,
    replica: Annotated[int, typer.Option(min=1, help="The number of this replica of the service.")] = 1,
    empty: Annotated[
        bool, typer.Option("--empty", help="Start without demo data; in production there never are any.")
    ] = False,
) -> None:
    """Serve the application, until Ctrl-C or SIGTERM."""
    if topology or settings()["topology"]:
        flags = {"--host": host, "--port": port, "--store": store, "--workers": workers}
        up_topology(settings(data=data, topology=topology), app, replica, flags, empty=empty)
        return
    chosen = settings(app=app, host=host, port=port, data=data, store=store, workers=workers)
    worker = Worker.from_environment()
    app_to_serve = load_app(chosen["app"])
    if chosen.in_production:
        _require_earnest(chosen, app_to_serve)
        empty = True
    _arm()
    if worker is not None:
        execute(lambda: _work(chosen, worker, empty=empty), chosen["log"], worker=worker.number)
    elif chosen.workers > 1:
        _require_shared(chosen)
        execute(lambda: _supervise(chosen, app_to_serve), chosen["log"])
    else:
        execute(lambda: _serve(chosen, empty=empty), chosen["log"])


def up_topology(
    chosen: ToolkitSettings, name: str | None, replica: int, flags: Mapping[str, object], *, empty: bool
) -> None:
    """Run a service of a topology, or all of them."""
    if not (find_spec("aiohttp") and find_spec("jwt")):
        fail("A topology needs what services call each other with: pip install craton[services].", WRONG_USE)
    from craton.cli.services import GATEWAY, become_gateway  # noqa: PLC0415 — only where its packages are there
    from craton.cli.topology import serve_service, supervise  # noqa: PLC0415

    for flag, value in flags.items():
        if value is not None:
            fail(f"{flag} doesn't go with a topology, whose file says where services listen and keep data.", WRONG_USE)
    app = load_app(chosen["app"])
    topology = load_topology(Path(chosen["topology"]), app, name)
    if chosen.in_production:
        _require_earnest(chosen, app)
        empty = True
        if any(url == "memory" for url in store_urls(topology, os.environ, name).values()):
            fail("A store in the topology is memory: all data would be lost when the process ends.", WRONG_USE)
    if name is None:
        execute(lambda: supervise(chosen, app, topology, empty=empty), chosen["log"])
        return
    try:
        if name == GATEWAY:
            become_gateway(app, topology, chosen.data)
        service = topology.service(name)
    except WiringError as problem:
        fail(f"{problem}.", WRONG_USE)
    _arm()
    if replica > service.replicas:
        fail(f"{name} has {service.replicas} replica(s) in the topology; there is no number {replica}.", WRONG_USE)
    execute(lambda: serve_service(chosen, app, topology, service, replica), chosen["log"])


def _arm() -> None:
    try:
        arm_from_environment()
    except ValueError as problem:
        fail(f"CRATON_CRASH_AT: {problem}.", WRONG_USE)


def _require_earnest(chosen: ToolkitSettings, app: App) -> None:
    """Exit unless all settings are fit for production."""
    try:
        unfit = [*chosen.unfit_for_production(), *app.unfit_for_production()]
    except WiringError as problem:
        fail(f"{problem}.", WRONG_USE)
    if unfit:
        fail("\n".join(["This can't be used in production (CRATON_MODE):", *unfit]), WRONG_USE)


def _require_shared(chosen: ToolkitSettings) -> None:
    """Exit unless several processes can use the store."""
    if not is_shared(chosen["store"]):
        fail(
            f"{chosen.workers} workers can't share the store {chosen['store']}: each would need a file of its own. Use "
            f"Postgres (--store, CRATON_STORE), or one worker ({chosen.source('workers')}).",
            WRONG_USE,
        )


def _listen(chosen: ToolkitSettings) -> socket.socket:
    try:
        return listen(chosen["host"], chosen.port)
    except (OSError, OverflowError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        fail(f"Can't listen on {chosen['host']}:{chosen.port}: {reason}. Choose another with --port or CRATON_PORT.")


async def _serve(chosen: ToolkitSettings, *, empty: bool) -> None:
    """Serve in this process alone."""
    with _listen(chosen) as listening:
        port = listening.getsockname()[1]
        await _run(chosen, listening, lambda app, said: _tell(chosen, app, port, said), empty=empty)


async def _supervise(chosen: ToolkitSettings, app: App) -> int:
    """Have workers serve."""
    if are_served(app):
        _require_free(chosen["host"], chosen.grpc_port)
    with _listen(chosen) as listening:
        port = listening.getsockname()[1]
        supervisor = Supervisor(chosen.workers, listening, lambda said: _tell(chosen, app, port, said))
        return await supervisor.run()


def _require_free(host: str, port: int) -> None:
    """Exit if the port of gRPC is taken: the workers share it, so that they wouldn't notice."""
    try:
        listen(host, port).close()
    except OSError as problem:
        fail(f"gRPC can't listen on {host}:{port}: {problem.strerror}. Choose another with CRATON_GRPC_PORT.")


async def _work(chosen: ToolkitSettings, worker: Worker, *, empty: bool) -> None:
    """Serve as one of several workers. Only the first adds demo data."""
    worker.end_with_supervisor()
    all_have_started = worker.all_have_started()
    with worker.socket() as listening:
        await _run(
            chosen,
            listening,
            lambda _, said: worker.has_started(said),
            empty=empty or worker.number > 1,
            shared_from=all_have_started,
        )


async def _run(
    chosen: ToolkitSettings,
    listening: socket.socket,
    has_started: Callable[[App, Sequence[str]], None],
    *,
    empty: bool,
    shared_from: asyncio.Future[None] | None = None,
) -> None:
    collect_rarely()
    async with running(chosen, subscriptions=True, existing=False) as app:
        application = asgi(app, origins=origins_of(chosen["origins"]), limited=chosen.are_limits_on)
        said = await app.begin(empty=empty)
        async with watched(), procedures(chosen, app, shared=chosen.workers > 1) as grpc:
            await serve(
                application,
                listening,
                has_started=lambda: has_started(app, [*said, *grpc.said]),
                shared_from=shared_from,
                told_to_stop=lambda: _stop(grpc),
                address_share=chosen.address_share,
                proxies=chosen["proxies"],
            )


def _stop(grpc: Procedures) -> None:
    faulthandler.dump_traceback_later(STOP_SECONDS, exit=True)
    grpc.stop()


def _tell(chosen: ToolkitSettings, app: App, port: int, said: Sequence[str]) -> None:
    """Show the banner, and what the application says at its start."""
    host = f"[{chosen['host']}]" if ":" in chosen["host"] else chosen["host"]
    data = f", data in {chosen.data.resolve()}" if chosen["store"] == "sqlite" else ""
    workers = f"  workers  {chosen.workers}\n" if chosen.workers > 1 else ""
    out.print(
        f"[bold]{app.name}[/bold] is up\n"
        f"  API      http://{host}:{port}\n"
        f"  docs     http://{host}:{port}/docs\n"
        f"  store    {masked(chosen['store'])}{data}\n"
        f"  modules  {', '.join(app.modules)}\n"
        f"{workers}"
        f"  Ctrl-C to stop"
    )
    for sentence in said:
        out.print(f"  {sentence}", markup=False)
