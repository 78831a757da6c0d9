"""craton up: serve the application."""

import faulthandler
from typing import Annotated, Final

import typer

from craton.adapters.http import asgi, listen, origins_of, serve
from craton.application.errors import WiringError
from craton.cli.load import WRONG_USE, execute, fail, load_app, out, running, settings
from craton.cli.options import Data, StoreUrl
from craton.ports.crash import arm_from_environment
from craton.runtime.app import App
from craton.runtime.process.garbage import collect_rarely
from craton.runtime.process.watchdog import watched
from craton.runtime.settings import ToolkitSettings, masked

STOP_SECONDS: Final = 10.0
"""A process ends within this time of the signal to stop. At the end of it the process logs what is still running."""


def up(
    app: Annotated[str | None, typer.Argument(help="The application, as module:name.")] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.")] = None,
    data: Data = None,
    store: StoreUrl = None,
    empty: Annotated[
        bool, typer.Option("--empty", help="Start without demo data; in production there never are any.")
    ] = False,
) -> None:
    """Serve the application, until Ctrl-C or SIGTERM."""
    chosen = settings(app=app, host=host, port=port, data=data, store=store)
    app_to_serve = load_app(chosen["app"])
    if chosen.in_production:
        _require_earnest(chosen, app_to_serve)
        empty = True
    try:
        arm_from_environment()
    except ValueError as problem:
        fail(f"CRATON_CRASH_AT: {problem}.", WRONG_USE)
    execute(lambda: _serve(chosen, empty=empty), chosen["log"])


def _require_earnest(chosen: ToolkitSettings, app: App) -> None:
    """Exit unless all settings are fit for production."""
    try:
        unfit = [*chosen.unfit_for_production(), *app.unfit_for_production()]
    except WiringError as problem:
        fail(f"{problem}.", WRONG_USE)
    if unfit:
        fail("\n".join(["This can't be used in production (CRATON_MODE):", *unfit]), WRONG_USE)


async def _serve(chosen: ToolkitSettings, *, empty: bool) -> None:
    try:
        listening = listen(chosen["host"], chosen.port)
    except (OSError, OverflowError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        fail(f"Can't listen on {chosen['host']}:{chosen.port}: {reason}. Choose another with --port or CRATON_PORT.")
    collect_rarely()
    with listening:
        async with running(chosen, subscriptions=True, existing=False) as app:
            application = asgi(app, origins=origins_of(chosen["origins"]))
            said = await app.begin(empty=empty)

            def tell() -> None:
                _banner(chosen, app, listening.getsockname()[1])
                for sentence in said:
                    out.print(f"  {sentence}", markup=False)

            async with watched():
                await serve(
                    application,
                    listening,
                    has_started=tell,
                    told_to_stop=lambda: faulthandler.dump_traceback_later(STOP_SECONDS, exit=True),
                    address_share=chosen.address_share,
                    proxies=chosen["proxies"],
                )


def _banner(chosen: ToolkitSettings, app: App, port: int) -> None:
    host = f"[{chosen['host']}]" if ":" in chosen["host"] else chosen["host"]
    data = f", data in {chosen.data.resolve()}" if chosen["store"] == "sqlite" else ""
    out.print(
        f"[bold]{app.name}[/bold] is up\n"
        f"  API      http://{host}:{port}\n"
        f"  docs     http://{host}:{port}/docs\n"
        f"  store    {masked(chosen['store'])}{data}\n"
        f"  modules  {', '.join(app.modules)}\n"
        f"  Ctrl-C to stop"
    )
