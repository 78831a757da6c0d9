"""craton: run an application and look after it."""

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from craton import __version__
from craton.application.errors import WiringError
from craton.cli import (
    check,
    demo,
    drain,
    events,
    lock,
    parked,
    projections,
    restored,
    sagas,
    service,
    timers,
    up,
    verify,
)
from craton.cli.load import WRONG_USE, err, fail, import_app, out, settings
from craton.cli.options import AppName, AsJson, Data, StoreUrl
from craton.cli.output import print_records
from craton.runtime.settings import module_settings


class _Commands(TyperGroup):
    """The toolkit's commands, and those of the chosen application."""

    def list_commands(self, ctx: Any) -> list[str]:
        try:
            return [*super().list_commands(ctx), *self._own()]
        except LookupError:
            return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        known = super().get_command(ctx, cmd_name)
        if known is not None:
            return known
        try:
            own = self._own()
        except LookupError as problem:
            fail(
                f"craton has no command {cmd_name!r}, and the application's own commands can't be read: {problem}.",
                WRONG_USE,
            )
        if cmd_name not in own:
            return None
        command = typer.main.get_command(own[cmd_name])
        command.name = cmd_name  # the help shows it
        return command

    @staticmethod
    def _own() -> dict[str, typer.Typer]:
        """The application's commands. Raises `LookupError` when the application can't be loaded."""
        return import_app(settings()["app"]).commands


cli = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Run an application and look after it.",
)
cli.command("up")(up.up)
cli.command("demo")(demo.demo)
cli.command("check")(check.check)
cli.command("lock")(lock.lock)
cli.command("drain")(drain.drain)
cli.command("events")(events.events)
cli.command("readers")(service.readers)
cli.command("leases")(service.leases)
cli.command("audit")(service.audit)
cli.command("verify")(verify.verify)
cli.command("restored")(restored.restored)
cli.add_typer(projections.cli, name="projections")
cli.add_typer(parked.cli, name="parked")
cli.add_typer(sagas.cli, name="sagas")
cli.add_typer(timers.cli, name="timers")


@cli.command()
def config(app: AppName = None, data: Data = None, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Show every setting, its value and where it comes from; secrets are masked."""
    chosen = settings(app=app, data=data, store=store)
    values = chosen.shown()
    try:
        modules = import_app(chosen["app"]).modules.values()
        values += [value for module in modules for value in module_settings(module.name, module.settings, os.environ)]
    except LookupError as problem:
        err.print(f"The settings of the modules can't be read: {problem}.", markup=False)
    except WiringError as problem:
        fail(f"{problem}.", WRONG_USE)
    print_records(values, ("name", "value", "source", "meaning"), as_json=as_json)


def _version(asked: bool) -> None:
    if asked:
        out.print(f"craton {__version__}")
        raise typer.Exit


@cli.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run an application and look after it."""


def run() -> None:
    """The entry point."""
    cli()
