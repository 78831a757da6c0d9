"""What an operator does about users from the command line."""

import secrets
from typing import Annotated

import typer

from craton.cli.loading import WRONG_USE, execute, fail, out, running, settings
from craton.cli.options import AppName, Data, StoreUrl
from craton.domain import DomainError
from craton.runtime.process.settings import Settings
from market.identity.api import Identity
from market.identity.events import EmailAddress, Password

users = typer.Typer(no_args_is_help=True, add_completion=False)


@users.callback()
def main() -> None:
    """Look after who may administrate."""


@users.command()
def appoint(
    email: Annotated[str, typer.Argument(help="The e-mail address of a user, or of a new one.")],
    app: AppName = None,
    data: Data = None,
    store: StoreUrl = None,
) -> None:
    """Make an administrator when none is left: of the user with this address, or a new one, whose password is shown."""
    chosen = settings(app=app, data=data, store=store)
    try:
        address = EmailAddress(email)
    except ValueError:
        fail(f"{email!r} is no e-mail address.", WRONG_USE)
    execute(lambda: _appoint(chosen, address), chosen["log"])


async def _appoint(chosen: Settings, email: EmailAddress) -> None:
    password = Password(secrets.token_urlsafe(18))
    async with running(chosen, subscriptions=False) as app:
        try:
            is_new = await app.api(Identity).appoint(email, password)
        except DomainError as refusal:
            fail(str(refusal))
    told = f" with the password {password.reveal()} (shown only this once)" if is_new else ""
    out.print(f"{email} is an administrator{told}.", markup=False)
