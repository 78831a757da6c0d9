"""craton timers: commands that were scheduled and can't be run."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

import msgspec
import typer

from craton.cli.loading import execute, fail, out, require_module, running, settings
from craton.cli.options import AppName, AsJson, Data, StoreUrl
from craton.cli.output import print_json, print_records
from craton.ports import Timer
from craton.runtime.subscriptions.timers import TimerRunner

cli = typer.Typer(no_args_is_help=True, help="Scheduled commands that failed too often or can't be read.")

Module = Annotated[str, typer.Argument(help="The module.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="The timers, as `craton timers list` shows them.")]


class Entry(msgspec.Struct, frozen=True):
    """A timer as it is shown: without its arguments, which may be secret."""

    id: str
    command: str
    due: datetime
    attempts: int
    error: str


@cli.command("list")
def list_(app: AppName = None, data: Data = None, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """List parked timers, and why each was parked."""
    chosen = settings(app=app, data=data, store=store)

    async def show() -> None:
        async with running(chosen, subscriptions=False) as loaded:
            for name, running_module in loaded.running.items():
                found = [_entry(timer) for timer in await running_module.store.parked_timers()]
                if as_json:
                    for entry in found:
                        print_json({"module": name, "timer": entry})
                elif found:
                    out.print(name, style="bold")
                    print_records(found, Entry.__struct_fields__, as_json=False)

    execute(show, chosen["log"])


@cli.command()
def retry(module: Module, ids: Ids, app: AppName = None, data: Data = None, store: StoreUrl = None) -> None:
    """Have parked timers tried again, as if for the first time."""
    _change(TimerRunner.retry, "is due now", module, ids, app, data, store)


@cli.command()
def drop(module: Module, ids: Ids, app: AppName = None, data: Data = None, store: StoreUrl = None) -> None:
    """Give parked timers up: their commands never run."""
    _change(TimerRunner.drop, "is given up", module, ids, app, data, store)


def _entry(timer: Timer) -> Entry:
    return Entry(timer.id, timer.operation, timer.due, timer.attempts, timer.error)


def _change(
    change: Callable[[TimerRunner, str], Awaitable[bool]],
    done: str,
    module: str,
    ids: list[str],
    app: str | None,
    data: str | None,
    store: str | None,
) -> None:
    chosen = settings(app=app, data=data, store=store)

    async def carry_out() -> None:
        async with running(chosen, subscriptions=False) as loaded:
            require_module(loaded, module)
            for id in ids:
                if not await change(loaded.running[module].timers, id):
                    fail(f"No timer {id} is parked in {module}.")
                out.print(f"{id} {done}.", markup=False)

    execute(carry_out, chosen["log"])
