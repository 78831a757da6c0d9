"""craton events: look at the log."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from craton.cli.loading import execute, fail, out, require_module, running, settings
from craton.cli.options import AppName, AsJson, Data, StoreUrl
from craton.cli.output import print_json
from craton.ports import StoredEvent
from craton.runtime.app import App
from craton.runtime.process.settings import Settings

POLL_SECONDS = 0.5
PAGE = 1_000


class _Shown(msgspec.Struct):
    module: str
    position: int
    time: datetime
    stream: str
    version: int
    type: str
    data: Any
    metadata: Any


def events(
    stream: Annotated[str | None, typer.Argument(help="Only this stream, such as account-0195….")] = None,
    module: Annotated[str | None, typer.Option(help="Only this module.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    last: Annotated[int, typer.Option("--last", "-n", min=1, max=100_000, help="How many of the newest.")] = 20,
    at: Annotated[str | None, typer.Option(help="The log as it was then, as 2026-01-31T12:00:00Z.")] = None,
    as_json: AsJson = False,
    app: AppName = None,
    data: Data = None,
    store: StoreUrl = None,
) -> None:
    """Show the newest events, or those of one stream; with --follow the ones to come."""
    chosen = settings(app=app, data=data, store=store)
    until = _time(at)
    execute(lambda: _show(chosen, stream, module, last, until, follow=follow, as_json=as_json), chosen["log"])


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--at must be a time such as 2026-01-31T12:00:00Z, not {text!r}.", 2)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


async def _show(
    chosen: Settings,
    stream: str | None,
    module: str | None,
    last: int,
    until: datetime | None,
    *,
    follow: bool,
    as_json: bool,
) -> None:
    async with running(chosen, subscriptions=False) as app:
        if module is not None:
            require_module(app, module)
        names = [module] if module else list(app.running)
        positions: dict[str, int] = {}
        newest: list[tuple[str, StoredEvent]] = []
        for name in names:
            positions[name], found = await _newest(app, name, stream, last, until)
            newest += ((name, event) for event in found)
        if stream is not None and not newest and not follow:
            where = f"the module {module}" if module else "any module"
            fail(f"There is no stream {stream!r} in {where}, or nothing in it by then.")
        newest.sort(key=lambda found: (found[1].time, found[1].position))
        for name, event in newest[-last:]:
            _print(name, [event], as_json=as_json)
        while follow:
            for name in names:
                page = await app.running[name].store.read_feed(positions[name], PAGE)
                positions[name] = page.position
                _print(name, [event for event in page.events if stream in (None, event.stream)], as_json=as_json)
            await asyncio.sleep(POLL_SECONDS)


async def _newest(
    app: App, module: str, stream: str | None, last: int, until: datetime | None
) -> tuple[int, list[StoredEvent]]:
    running_module = app.running[module]
    found: list[StoredEvent] = []
    position = await running_module.store.head()
    if stream is not None:
        after = 0
        while page := await running_module.store.read_stream(stream, after=after, limit=PAGE):
            found += page
            after = page[-1].version
    else:
        start = 0 if until else max(0, position - last)
        async for event in running_module.events(start):
            if until is None or event.time <= until:
                found.append(event)
            if len(found) > 2 * last:
                del found[:-last]
    until_then = [event for event in found if event.position <= position]
    return position, [event for event in until_then if until is None or event.time <= until][-last:]


def _print(module: str, found: Sequence[StoredEvent], *, as_json: bool) -> None:
    for event in found:
        if as_json:
            data, metadata = msgspec.json.decode(event.data), msgspec.json.decode(event.metadata)
            print_json(
                _Shown(
                    module,
                    event.position,
                    event.time,
                    event.stream,
                    event.version,
                    event.type,
                    data,
                    metadata,
                )
            )
        else:
            time = event.time.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds")
            line = f"{module} {event.position:>8}  {time}  {event.stream}  v{event.version}  {event.type}  {event.data}"
            out.print(line, markup=False)
