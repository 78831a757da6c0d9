"""craton parked: events that couldn't be handled."""

from typing import Annotated, Literal

import typer

from craton.cli.loading import execute, fail, out, require_module, running, settings
from craton.cli.options import AppName, AsJson, Data, StoreUrl
from craton.cli.output import print_json, print_records
from craton.ports import Changeset, NothingParked, OperatorRequest
from craton.runtime.committer import write_alone

cli = typer.Typer(no_args_is_help=True, help="Events that couldn't be handled.")

Module = Annotated[str, typer.Argument(help="The module.")]
Subscription = Annotated[str, typer.Argument(help="The subscription, as `craton parked list` shows it.")]
Position = Annotated[int, typer.Argument(help="The position of the event.", min=1, max=2**63 - 1)]


@cli.command("list")
def list_(app: AppName = None, data: Data = None, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """List parked events: the one that failed, and those of its key that wait behind it."""
    chosen = settings(app=app, data=data, store=store)

    async def show() -> None:
        async with running(chosen, subscriptions=False) as loaded:
            for name, running_module in loaded.running.items():
                found = await running_module.store.parked()
                if as_json:
                    for entry in found:
                        print_json({"module": name, "event": entry})
                elif found:
                    out.print(name, style="bold")
                    columns = ("subscription", "position", "key", "attempts", "since", "error", "operator_request")
                    print_records(found, columns, as_json=False)

    execute(show, chosen["log"])


@cli.command()
def retry(
    module: Module,
    subscription: Subscription,
    position: Position,
    app: AppName = None,
    data: Data = None,
    store: StoreUrl = None,
) -> None:
    """Have a parked event, and those behind it, tried again."""
    _request("retry", module, subscription, position, app, data, store)


@cli.command()
def drop(
    module: Module,
    subscription: Subscription,
    position: Position,
    app: AppName = None,
    data: Data = None,
    store: StoreUrl = None,
) -> None:
    """Give a parked event up, and have those behind it tried."""
    _request("drop", module, subscription, position, app, data, store)


def _request(
    request: Literal["retry", "drop"],
    module: str,
    subscription: str,
    position: int,
    app: str | None,
    data: str | None,
    store: str | None,
) -> None:
    chosen = settings(app=app, data=data, store=store)

    async def note() -> None:
        async with running(chosen, subscriptions=False) as loaded:
            require_module(loaded, module)
            runner = loaded.running[module].projections.get(subscription.rpartition("@")[0])
            if runner is not None and not await runner.handles(subscription):
                projection = runner.definition.name
                fail(
                    f"No process handles {subscription}: another generation of {projection} is live, or it is inline. "
                    f"`craton projections rebuild {projection}` tries all events again."
                )
            asked = Changeset(operator_requests=[OperatorRequest(subscription, position, request)])
            try:
                await write_alone(loaded.running[module].store, asked)
            except NothingParked:
                fail(f"Nothing is parked at position {position} of {subscription}.")
            out.print(f"Noted; the owner of {subscription} carries it out as soon as it runs.")

    execute(note, chosen["log"])
