"""craton projections: how far the read models are, and building them anew."""

import asyncio
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from craton.cli.loading import err, execute, fail, out, running, settings
from craton.cli.options import AppName, AsJson, Data, StoreUrl
from craton.cli.output import print_json, print_records
from craton.domain import world
from craton.runtime.app import App
from craton.runtime.process.settings import Settings
from craton.runtime.projections.projection import RunningProjection

POLL_SECONDS = 0.1

cli = typer.Typer(no_args_is_help=True, help="How far the read models are, and building them anew.")

Name = Annotated[str, typer.Argument(help="A projection, as name or module.name.")]


@cli.command("list")
def list_(app: AppName = None, data: Data = None, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """List projections with their generations and lag."""
    chosen = settings(app=app, data=data, store=store)

    async def show() -> None:
        async with running(chosen, subscriptions=False) as loaded:
            progress = [await runner.progress() for runner in loaded.projections.values()]
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
            print_records(progress, columns, as_json=as_json)

    execute(show, chosen["log"])


@cli.command()
def rebuild(
    name: Name, app: AppName = None, data: Data = None, store: StoreUrl = None, as_json: AsJson = False
) -> None:
    """Build a projection anew beside the live one, and swap it in when it has caught up."""
    chosen = settings(app=app, data=data, store=store)
    execute(lambda: _rebuild(chosen, name, as_json=as_json), chosen["log"])


@cli.command()
def rollback(name: Name, app: AppName = None, data: Data = None, store: StoreUrl = None) -> None:
    """Make the generation before the live one live again."""
    chosen = settings(app=app, data=data, store=store)

    async def roll_back() -> None:
        async with running(chosen, subscriptions=False) as loaded:
            generation = (await _find(loaded, name).roll_back()).live
            out.print(f"Generation {generation} of {name} is live.")

    execute(roll_back, chosen["log"])


async def _rebuild(chosen: Settings, name: str, *, as_json: bool) -> None:
    async with running(chosen, subscriptions=False) as app:
        runner = _find(app, name)
        started = world.monotonic()
        generation = (await runner.rebuild()).building
        # A running server may do the work just as well: the lease decides who does.
        work = asyncio.create_task(runner.runner.run())
        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(), console=err, disable=as_json,
        )  # fmt: skip
        with bar:
            task = bar.add_task(f"building generation {generation}", rate="")
            while (state := await runner.progress()).building == generation:
                rate = state.built / max(world.monotonic() - started, 0.001)
                bar.update(task, total=state.head, completed=state.built, rate=f"{rate:,.0f} events/s")
                if work.done():
                    await work
                held_up = await runner.parked_for_build()
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
            print_json(await runner.progress())
        else:
            out.print(f"{name}: {state.head:,} events in {seconds:.1f} s; generation {generation} is live.")


def _find(app: App, name: str) -> RunningProjection:
    found = app.find_projections(name)
    if len(found) != 1:
        which = "more than one" if found else "no"
        fail(f"{name!r} names {which} projection; there are: {', '.join(app.projections)}.", 2)
    return found[0]
