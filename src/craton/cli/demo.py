"""craton demo: show what the application can do."""

from craton.cli.load import FAILED, WRONG_USE, execute, fail, load_app, settings
from craton.cli.options import AppName, StoreUrl
from craton.runtime.app import App


def demo(app: AppName = None, store: StoreUrl = None) -> None:
    """Play a scenario of the application in the terminal, with data of its own; exit code 1 if the scenario fails."""
    chosen = settings(app=app, store=store)
    loaded = load_app(chosen["app"])
    if loaded.demo is None:
        fail(f"The application {loaded.name} has no demo.", WRONG_USE)
    execute(lambda: _tell(loaded, chosen["store"]), chosen["log"])


async def _tell(app: App, store: str) -> int:
    assert app.demo is not None  # noqa: S101
    return 0 if await app.demo(store) else FAILED
