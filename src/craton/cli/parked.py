"""craton parked: the events that a reader couldn't handle."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from craton.cli.load import out, require_module
from craton.cli.operators import Reason, every, operate, text
from craton.cli.options import AppName, AsJson, Data, StoreUrl
from craton.cli.output import print_records
from craton.runtime.app import App
from craton.runtime.operations.api import Requested

cli = typer.Typer(no_args_is_help=True, help="Events that a reader couldn't handle.")

Module = Annotated[str, typer.Argument(help="The module that the reader belongs to.")]
Reader = Annotated[
    str | None, typer.Argument(help="The reader, as `craton parked list` shows it; all readers if left out.")
]
Position = Annotated[
    int | None, typer.Argument(help="The position of one event; all events if left out.", min=1, max=2**63 - 1)
]
Key = Annotated[str | None, typer.Option(help="Only events with this key.")]
Verb = Callable[..., Awaitable[Requested]]


@cli.command("list")
def list_(app: AppName = None, data: Data = None, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """List parked events: each event that failed, and the events with the same key that wait behind it."""

    async def show(loaded: App) -> None:
        found = await every(loaded.operations.parked)
        columns = ("module", "reader", "position", "key", "attempts", "since", "error", "request")
        if found:
            print_records(found, columns, as_json=as_json)

    operate(show, app, data, store)


@cli.command()
def retry(
    module: Module,
    reader: Reader = None,
    position: Position = None,
    key: Key = None,
    reason: Reason = "",
    app: AppName = None,
    data: Data = None,
    store: StoreUrl = None,
) -> None:
    """Try parked events again, each with the events that wait behind it."""

    async def ask(loaded: App) -> None:
        await _ask(loaded, loaded.operations.retry_parked, module, reader, position, key, reason)

    operate(ask, app, data, store)


@cli.command()
def drop(
    module: Module,
    reader: Reader = None,
    position: Position = None,
    key: Key = None,
    reason: Reason = "",
    app: AppName = None,
    data: Data = None,
    store: StoreUrl = None,
) -> None:
    """Drop parked events without handling them, and try the events that wait behind them."""

    async def ask(loaded: App) -> None:
        await _ask(loaded, loaded.operations.drop_parked, module, reader, position, key, reason)

    operate(ask, app, data, store)


async def _ask(
    app: App, verb: Verb, module: str, reader: str | None, position: int | None, key: str | None, reason: str
) -> None:
    require_module(app, module)
    asked = await verb(module, reader=reader, key=key, position=position, reason=text(reason))
    more = " More events match: run the command again." if asked.more else ""
    out.print(
        f"The request is recorded for {asked.events} event(s); the process that runs the reader carries it out.{more}"
    )
