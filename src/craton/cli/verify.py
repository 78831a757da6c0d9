"""craton verify: compares everything that is stored with the log."""

from craton.cli.load import FAILED, execute, out, running, settings
from craton.cli.options import AppName, Data, StoreUrl


def verify(app: AppName = None, data: Data = None, store: StoreUrl = None) -> None:
    """Compute everything again from the events; exit with an error at the first difference."""
    chosen = settings(app=app, data=data, store=store)

    async def compare() -> int:
        async with running(chosen, subscriptions=False) as loaded:
            for problem in await loaded.rounds.problems():
                out.print(problem, markup=False)
                return FAILED
            for name, running_module in loaded.running.items():
                async for problem in running_module.verify():
                    out.print(f"{name}: {problem}.", markup=False)
                    return FAILED
                out.print(f"{name}: agrees with its log ({await running_module.store.head():,} positions).")
        return 0

    execute(compare, chosen["log"])
