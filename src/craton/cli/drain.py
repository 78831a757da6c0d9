"""craton drain: before the last processes of an old program are stopped, wait until no saga needs them."""

import asyncio
from typing import Annotated, Final

import typer

from craton.cli.load import FAILED, execute, out, running, settings
from craton.cli.options import AppName, Data, StoreUrl
from craton.domain import world

LOOK_SECONDS: Final = 1.0


def drain(
    app: AppName = None,
    data: Data = None,
    store: StoreUrl = None,
    minutes: Annotated[float, typer.Option(help="How long to wait at most; then the exit code is 1.")] = 60.0,
) -> None:
    """Wait until no saga is under way that this program, the new one, can't continue. The old one drives them."""
    chosen = settings(app=app, data=data, store=store)

    async def wait() -> int:
        until = world.monotonic() + minutes * 60
        before = 0
        async with running(chosen, subscriptions=False) as loaded:
            hosts = [module.sagas for module in loaded.running.values() if module.sagas is not None]
            while left := sum([await host.stranded() for host in hosts]):
                if left != before:
                    out.print(f"Sagas that have not ended and that this program can't continue: {left}.")
                if world.monotonic() >= until:
                    return FAILED
                before = left
                await asyncio.sleep(LOOK_SECONDS)
        out.print("This program can continue all sagas that are under way.")
        return 0

    execute(wait, chosen["log"])
