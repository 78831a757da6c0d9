"""craton projections: the progress of the read models, and building them again."""

import asyncio
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from craton.cli.load import err, fail, out
from craton.cli.operators import Reason, operate, text
from craton.cli.options import AppName, AsJson, Data, StoreUrl
from craton.cli.output import print_json, print_records
from craton.domain import world
from craton.runtime.app import App
from craton.runtime.projections.projection import RunningProjection

POLL_SECONDS = 0.1

cli = typer.Typer(no_args_is_help=True, help="The progress of read models, and building them again.")

Name = Annotated[str, typer.Argument(help="The projection, by its name or as module.name.")]


@cli.command("list")
def list_(app: AppName = None, data: Data = None, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """List projections with their generations and lag."""

    async def show(loaded: App) -> None:
        columns = (
            "module",
            "projection",
            "version",
            "live",
            "building",
            "previous",
            "position",
            "lag",
            "parked",
            "parked_building",
        )
        print_records(await loaded.operations.projections(), columns, as_json=as_json)

    operate(show, app, data, store)


@cli.command()
def rebuild(
    name: Name,
    reason: Reason = "",
    app: AppName = None,
    data: Data = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Build a projection again beside the live one, and make it live when it has caught up."""
    operate(lambda loaded: _rebuild(loaded, name, reason, as_json=as_json), app, data, store)


@cli.command()
def rollback(name: Name, reason: Reason = "", app: AppName = None, data: Data = None, store: StoreUrl = None) -> None:
    """Make the previous generation live again."""

    async def roll_back(loaded: App) -> None:
        _find(loaded, name)
        generation = (await loaded.operations.roll_back_projection(name, text(reason))).live
        out.print(f"Generation {generation} of {name} is live.")

    operate(roll_back, app, data, store)


async def _rebuild(app: App, name: str, reason: str, *, as_json: bool) -> None:
    projection = _find(app, name)
    started = world.monotonic()
    generation = (await app.operations.rebuild_projection(name, text(reason))).building
    # A running server may do the work instead: the lease decides which process does it.
    work = asyncio.create_task(projection.runner.run())
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(), console=err, disable=as_json,
    )  # fmt: skip
    with bar:
        task = bar.add_task(f"building generation {generation}", rate="")
        while (state := await projection.progress()).building == generation:
            rate = state.built / max(world.monotonic() - started, 0.001)
            bar.update(task, total=state.head, completed=state.built, rate=f"{rate:,.0f} events/s")
            if work.done():
                await work
            held_up = await projection.parked_for_build()
            if held_up:
                break
            await asyncio.sleep(POLL_SECONDS)
        else:
            bar.update(task, total=state.head, completed=state.head)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    if state.building == generation:
        fail(
            f"Generation {generation} of {name} isn't live: {held_up} events are parked for it. Retry or drop each "
            f"(craton parked list shows them); then a running server makes it live, or this command does."
        )
    seconds = world.monotonic() - started
    if as_json:
        print_json(await projection.progress())
    else:
        out.print(f"{name}: {state.head:,} events in {seconds:.1f} s; generation {generation} is live.")


def _find(app: App, name: str) -> RunningProjection:
    found = app.find_projections(name)
    if len(found) != 1:
        which = "more than one" if found else "no"
        fail(f"{name!r} names {which} projection; there are: {', '.join(app.projections)}.", 2)
    return found[0]
