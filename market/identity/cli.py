"""The command line for operators: `craton users`."""

from typing import Annotated

import typer

from craton.cli.load import WRONG_USE, execute, fail, out, running, settings
from craton.cli.options import AppName, Data, StoreUrl
from craton.domain import DomainError
from craton.domain.world import random_text
from craton.runtime.settings import ToolkitSettings
from market.identity.api import Identity
from market.identity.events import EmailAddress, Password

users = typer.Typer(no_args_is_help=True, add_completion=False)


@users.callback()
def main() -> None:
    """Manage administrators."""


@users.command()
def appoint(
    email: Annotated[
        str, typer.Argument(help="The e-mail address of the administrator. If no user has it, a new user is made.")
    ],
    app: AppName = None,
    data: Data = None,
    store: StoreUrl = None,
) -> None:
    """Make an administrator when none is left. The password of a new user is shown."""
    chosen = settings(app=app, data=data, store=store)
    try:
        address = EmailAddress(email)
    except ValueError:
        fail(f"{email!r} is no e-mail address.", WRONG_USE)
    execute(lambda: _appoint(chosen, address), chosen["log"])


async def _appoint(chosen: ToolkitSettings, email: EmailAddress) -> None:
    password = Password(random_text(18))
    async with running(chosen, subscriptions=False) as app:
        try:
            is_new = await app.api(Identity).appoint(email, password)
        except DomainError as refusal:
            fail(str(refusal))
    shown = f" with the password {password.reveal()} (shown only this once)" if is_new else ""
    out.print(f"{email} is an administrator{shown}.", markup=False)
