"""craton timers: commands that were scheduled."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from craton.cli.load import fail, out, require_module
from craton.cli.operators import Reason, Work, every, operate, text
from craton.cli.options import AppName, AsJson, Data, StoreUrl
from craton.cli.output import print_records
from craton.runtime.app import App
from craton.runtime.operations.refusals import TimerNotFound

cli = typer.Typer(
    no_args_is_help=True, help="Scheduled commands. A command that failed too often, or that can't be read, is parked."
)

Module = Annotated[str, typer.Argument(help="The module.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="The timers, as `craton timers list` shows them.")]
Waiting = Annotated[bool, typer.Option("--waiting", help="List the timers that wait for their time instead.")]


@cli.command("list")
def list_(
    waiting: Waiting = False, app: AppName = None, data: Data = None, store: StoreUrl = None, as_json: AsJson = False
) -> None:
    """List parked timers and their errors. The arguments aren't shown, because they may be secret."""

    async def show(loaded: App) -> None:
        found = await every(loaded.operations.timers, parked=not waiting)
        if found:
            print_records(found, ("module", "id", "operation", "due", "attempts", "error"), as_json=as_json)

    operate(show, app, data, store)


@cli.command()
def retry(
    module: Module,
    ids: Ids,
    reason: Reason = "",
    app: AppName = None,
    data: Data = None,
    store: StoreUrl = None,
) -> None:
    """Try parked timers again, with all their attempts."""

    async def retry_one(loaded: App, id: str) -> None:
        await loaded.operations.retry_timer(module, id, text(reason))
        out.print(f"{id} is due now.", markup=False)

    operate(_for_each(module, ids, retry_one), app, data, store)


@cli.command()
def drop(
    module: Module,
    ids: Ids,
    reason: Reason = "",
    app: AppName = None,
    data: Data = None,
    store: StoreUrl = None,
) -> None:
    """Drop parked timers: their commands never run."""

    async def drop_one(loaded: App, id: str) -> None:
        await loaded.operations.drop_timer(module, id, text(reason))
        out.print(f"{id} is dropped.", markup=False)

    operate(_for_each(module, ids, drop_one), app, data, store)


def _for_each(module: str, ids: list[str], change: Callable[[App, str], Awaitable[None]]) -> Work:
    """Change parked timers one after the other; stop at the first that isn't parked."""

    async def carry_out(loaded: App) -> None:
        require_module(loaded, module)
        for id in ids:
            try:
                await change(loaded, id)
            except TimerNotFound:
                fail(f"No timer {id} is parked in {module}.")

    return carry_out
