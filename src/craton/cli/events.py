"""craton events: shows the log."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from craton.application.codec import encode_text
from craton.cli.load import fail, out, require_module
from craton.cli.operators import operate
from craton.cli.options import AppName, AsJson, Data, StoreUrl
from craton.cli.output import print_json
from craton.runtime.app import App
from craton.runtime.operations.api import MAX_LISTED_EVENTS, EventEntry

POLL_SECONDS = 0.5
MAX_FOLLOWED = 1_000
"""The most events that one look at the log prints in `--follow`."""

Wanted = dict[str, Any]


def events(
    stream: Annotated[str | None, typer.Argument(help="Only this stream, such as account-0195….")] = None,
    module: Annotated[str | None, typer.Option(help="Only this module.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Only events of this type.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only events that this user, policy or saga caused.")] = None,
    correlation: Annotated[str | None, typer.Option(help="Only events that belong to this request.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new events as they come.")] = False,
    last: Annotated[
        int, typer.Option("--last", "-n", min=1, max=100_000, help="The number of newest events to show.")
    ] = 20,
    at: Annotated[
        str | None, typer.Option(help="Show the log as it was at this time, such as 2026-01-31T12:00:00Z.")
    ] = None,
    as_json: AsJson = False,
    app: AppName = None,
    data: Data = None,
    store: StoreUrl = None,
) -> None:
    """Show the newest events, or those of one stream; with --follow also the events to come."""
    wanted = {"module": module, "stream": stream, "type": type_, "actor": actor, "correlation": correlation}
    until = None if at is None else _time(at) + timedelta(microseconds=1)
    operate(lambda loaded: _show(loaded, wanted, last, until, follow=follow, as_json=as_json), app, data, store)


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--at must be a time such as 2026-01-31T12:00:00Z, not {text!r}.", 2)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


async def _show(app: App, wanted: Wanted, last: int, until: datetime | None, *, follow: bool, as_json: bool) -> None:
    module, stream = wanted["module"], wanted["stream"]
    if module is not None:
        require_module(app, module)
    heads = {name: await app.running[name].store.head() for name in ([module] if module else app.running)}
    newest = await _newest(app, wanted, last, until)
    if stream is not None and not newest and not follow:
        where = f"the module {module}" if module else "any module"
        fail(f"There is no stream {stream!r} in {where}, or it had no events at that time.")
    for entry in reversed(newest):
        _print(entry, as_json=as_json)
    while follow:
        await asyncio.sleep(POLL_SECONDS)
        for entry in reversed(await _newest(app, wanted, MAX_FOLLOWED, None)):
            if entry.position > heads[entry.module]:
                heads[entry.module] = entry.position
                _print(entry, as_json=as_json)


async def _newest(app: App, wanted: Wanted, last: int, until: datetime | None) -> list[EventEntry]:
    """The last so many events that match, newest first, however far back in the log they are."""
    found: list[EventEntry] = []
    after = ""
    while len(found) < last:
        limit = min(MAX_LISTED_EVENTS, last - len(found))
        part = await app.operations.events(**wanted, to=until, after=after, limit=limit)
        found += part.events
        after = part.next
        if not after:
            break
    return found


def _print(entry: EventEntry, *, as_json: bool) -> None:
    if as_json:
        print_json(entry)
        return
    time = entry.time.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds")
    about = f"{entry.module} {entry.position:>8}  {time}  {entry.stream}  v{entry.version}  {entry.type}"
    out.print(f"{about}  {encode_text(entry.data)}", markup=False)
