"""craton drain: wait until no saga is under way that a new program could not continue."""

import asyncio
from typing import Annotated, Final

import typer

from craton.application.page import Paging
from craton.application.sagas.index import SagaRow
from craton.cli.load import FAILED, execute, fail, out, running, settings
from craton.cli.options import AppName, Data, StoreUrl
from craton.domain import world
from craton.runtime.app import App

LOOK_SECONDS: Final = 1.0


def drain(
    kind: Annotated[str, typer.Argument(help="The kind of sagas, such as Checkout.")],
    app: AppName = None,
    data: Data = None,
    store: StoreUrl = None,
    minutes: Annotated[float, typer.Option(help="How long to wait at most; then the exit code is 1.")] = 60.0,
) -> None:
    """Wait until all sagas of a kind have ended, while the running service drives them."""
    chosen = settings(app=app, data=data, store=store)

    async def wait() -> int:
        until = world.monotonic() + minutes * 60
        before = -1
        async with running(chosen, subscriptions=False) as loaded:
            if not any(kind in module.sagas for module in loaded.modules.values()):
                fail(f"There is no saga {kind} in {loaded.name}.")
            while (left := await _open(loaded, kind)) and world.monotonic() < until:
                if left != before:
                    out.print(f"{left} of {kind} have not ended.")
                before = left
                await asyncio.sleep(LOOK_SECONDS)
        out.print(f"{left} of {kind} have not ended." if left else f"No {kind} is under way.")
        return FAILED if left else 0

    execute(wait, chosen["log"])


async def _open(app: App, kind: str) -> int:
    """How many sagas of a kind have not ended."""
    pages = [
        await running.view(SagaRow).page(kind=kind, open=1, paging=Paging(1, 1))
        for running in app.running.values()
        if kind in running.module.sagas
    ]
    return sum(page.total for page in pages)
