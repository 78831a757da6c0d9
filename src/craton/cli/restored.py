"""craton restored: go on after one module's store was restored from a backup."""

from typing import Annotated

import typer

from craton.cli.loading import execute, fail, out, running, settings
from craton.cli.options import AppName, Data, StoreUrl
from craton.domain import uuid7


def restored(
    module: Annotated[str, typer.Argument(help="The module whose store is older than the others.")],
    app: AppName = None,
    data: Data = None,
    store: StoreUrl = None,
) -> None:
    """Accept a store that was restored alone: policies that work on it go on from where they were at the backup."""
    chosen = settings(app=app, data=data, store=store)

    async def accept() -> None:
        async with running(chosen, subscriptions=False) as loaded:
            if module not in loaded.running:
                fail(f"There is no module {module!r}; there are: {', '.join(loaded.running)}.", 2)
            for sentence in await loaded.rounds.accept(module, f"craton restored {uuid7()}"):
                out.print(sentence, markup=False)
            out.print(f"The store of {module} is accepted as it is.", markup=False)

    execute(accept, chosen["log"])
