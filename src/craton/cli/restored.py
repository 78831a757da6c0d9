"""craton restored: accepts the store of one module that was restored from a backup."""

from typing import Annotated

import typer

from craton.cli.load import execute, out, require_module, running, settings
from craton.cli.options import AppName, Data, StoreUrl
from craton.domain import uuid7


def restored(
    module: Annotated[str, typer.Argument(help="The module whose store is older than the others.")],
    app: AppName = None,
    data: Data = None,
    store: StoreUrl = None,
) -> None:
    """Accept a store that was restored alone: policies that work on it continue from their position in the backup."""
    chosen = settings(app=app, data=data, store=store)

    async def accept() -> None:
        async with running(chosen, subscriptions=False) as loaded:
            require_module(loaded, module)
            for sentence in await loaded.rounds.accept(module, f"craton restored {uuid7()}"):
                out.print(sentence, markup=False)
            out.print(f"The store of {module} is accepted in its present state.", markup=False)

    execute(accept, chosen["log"])
