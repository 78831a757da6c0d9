"""What the operators' commands share: a running application, and the name of the operator."""

import getpass
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

import typer

from craton.application.context import Context, entered
from craton.application.page import MAX_PAGE_SIZE, Page, Paging
from craton.cli.load import execute, fail, running, settings
from craton.domain import DomainError, Text
from craton.runtime.app import App

T = TypeVar("T")
Reason = Annotated[str, typer.Option(help="The reason; it is recorded with the action.")]
Work = Callable[[App], Coroutine[Any, Any, None]]


def operate(work: Work, app: str | None, data: str | None, store: str | None) -> None:
    """Call the application's `operations`; print a refusal as a sentence and exit."""
    chosen = settings(app=app, data=data, store=store)

    async def run() -> None:
        async with running(chosen, subscriptions=False) as loaded, _as_operator():
            try:
                await work(loaded)
            except DomainError as refusal:
                fail(str(refusal))

    execute(run, chosen["log"])


@asynccontextmanager
async def _as_operator() -> AsyncIterator[None]:
    """Record what is done in this block as done by this user of this machine."""
    with entered(Context(actor=f"{_user()}@{socket.gethostname()}")):
        yield


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a user id that has no name
        return "operator"


def text(reason: str) -> Text:
    """The reason as it is recorded. Exits with a sentence if it can't be recorded."""
    try:
        return Text(reason)
    except ValueError as problem:
        fail(f"The reason can't be recorded: {problem}.", 2)


async def every(listed: Callable[..., Awaitable[Page[T]]], **conditions: Any) -> list[T]:
    """The records of all pages of a list."""
    found: list[T] = []
    page = 1
    while True:
        part = await listed(**conditions, paging=Paging(page, MAX_PAGE_SIZE))
        found += part.items
        if page >= part.total_pages:
            return found
        page += 1
