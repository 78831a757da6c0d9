"""What a service answers to other services: calls of its modules' operations, and pages of their logs.

It listens at an address of its own, which the gateway never reaches. Each service may ask only what its modules'
annotations ask for. A call that this service doesn't begin (it stops, it is full, or it doesn't know the operation) is
answered with status 503, which says that nothing has happened.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
import structlog
from starlette.types import Receive, Scope, Send

from craton.adapters.received import ClientGone, received
from craton.adapters.services.wire import (
    MAX_BODY_BYTES,
    NOT_BEGUN,
    AnswerMessage,
    CallMessage,
    Failure,
    HeadMessage,
    PageMessage,
)
from craton.application.api import OperationDefinition
from craton.application.codec import decode, encode
from craton.application.context import context_var
from craton.application.errors import NeedsNewerProgram
from craton.domain import DomainError
from craton.ports import StoredEvent, StoreUnavailable
from craton.runtime.app import App
from craton.runtime.commands.calls import Call
from craton.runtime.operations.api import Operations
from craton.runtime.process.signal import POLL_SECONDS
from craton.runtime.subscriptions.source import Source
from craton.runtime.topology.links import Link

MAX_CALLS: Final = 512
"""How many calls run at the same time; a service that has more asks another replica, or is told to try again."""
MAX_PAGES: Final = 4
"""How many pages of logs are read at the same time, so that readers can't keep the store from the commands."""
MAX_PAGE_EVENTS: Final = 5_000
MAX_PAGE_BYTES: Final = 4 * 1024 * 1024
MAX_WAIT_SECONDS: Final = 20.0
BODY_SECONDS: Final = 10.0
MAX_LOGGED: Final = 100
_NOTHING_DONE: Final = frozenset({400, 403, 404, 503})

log = structlog.get_logger("craton.services")

Identify = Callable[[Mapping[bytes, bytes]], str]
"""Returns the name of the service that sends a request with these headers. Raises `Forbidden`."""


class Forbidden(Exception):
    """The request comes from a service that may not ask this, or that hasn't proved which it is."""


class _NotBegun(Exception):
    """Nothing was done, and the caller may ask another replica."""


class ServicesServer:
    """The ASGI application of the address for other services. `links` say what each of them may ask; a caller whose
    name isn't among them may ask nothing, but for `trusted`, which may call everything."""

    def __init__(self, app: App, links: Mapping[str, Link], identify: Identify, trusted: str = "") -> None:
        self._app = app
        self._links = links
        self._identify = identify
        self._trusted = trusted
        self._calls = 0
        self._logged: set[str] = set()
        """The reasons for which services were refused."""
        self._pages = asyncio.Semaphore(MAX_PAGES)
        self._stopping = asyncio.Event()
        operate: Call = app.operate_here
        self._operations: dict[str, tuple[str, OperationDefinition, Call]] = {
            f"/operations/{name}": ("", operation, operate) for name, operation in Operations.operations.items()
        }
        for module in app.modules.values():
            for name, operation in module.api.operations.items():
                self._operations[f"/calls/{module.name}/{name}"] = module.name, operation, app.call

    def stop(self) -> None:
        """Begin no more calls, and let those that wait for a log to grow go."""
        self._stopping.set()
        for running in self._app.running.values():
            running.source.signal.fire()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served here, not {scope['type']}")
        status, body = await self._answer(scope, receive)
        headers = [(b"content-length", b"%d" % len(body))]
        if status != 200:
            headers.append((NOT_BEGUN, b"1" if status in _NOTHING_DONE else b"0"))
        if self._stopping.is_set():
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        path: str = scope["path"]
        try:
            caller = self._identify(dict(scope["headers"]))
            match scope["method"], path.split("/"):
                case "POST", ["", ("calls" | "operations"), *_]:
                    return 200, encode(
                        await self._call(caller, path, await received(receive, MAX_BODY_BYTES, BODY_SECONDS))
                    )
                case "GET", ["", "feeds", module]:
                    return 200, msgspec.msgpack.encode(
                        await self._read(caller, module, scope["query_string"].decode("latin-1"))
                    )
                case "GET", ["", "feeds", module, "head"]:
                    return 200, msgspec.msgpack.encode(
                        await self._head(caller, module, scope["query_string"].decode("latin-1"))
                    )
                case _:
                    return 404, b"There is nothing here."
        except Forbidden as problem:
            if str(problem) not in self._logged and len(self._logged) < MAX_LOGGED:
                self._logged.add(str(problem))
                log.warning("another service was refused; each reason is logged once", path=path, reason=str(problem))
            return 403, str(problem).encode()
        except (_NotBegun, StoreUnavailable) as problem:
            return 503, str(problem).encode()
        except (ValueError, TimeoutError, ClientGone) as problem:
            return 400, f"The request isn't understood: {problem}".encode()
        except asyncio.CancelledError:  # the process ends, and what was begun may still be committed
            return 500, b"The service has stopped before it was done."

    # --- calls ---------------------------------------------------------------------------------------------------

    async def _call(self, caller: str, path: str, body: bytes) -> AnswerMessage:
        if path not in self._operations:
            raise _NotBegun(f"This service has no {path}: another one may have it, or a newer version of this one.")
        module, operation, call = self._operations[path]
        if not module and caller != self._trusted:
            self._link(caller)
        if module and caller != self._trusted and module not in self._link(caller).calls:
            raise Forbidden(f"The service {caller} has no part that asks for {operation.api.__name__}.")
        if self._stopping.is_set() or self._calls >= MAX_CALLS:
            raise _NotBegun(
                "The service is stopping." if self._stopping.is_set() else "The service has too many calls."
            )
        message = decode(CallMessage, body)
        try:
            arguments = message.bound(operation)
        except msgspec.ValidationError as problem:
            raise _NotBegun(f"The arguments of {operation} don't fit this version of it: {problem}") from None
        self._calls += 1
        try:
            return await self._run(operation, call, arguments, message)
        finally:
            self._calls -= 1

    async def _run(
        self, operation: OperationDefinition, call: Call, arguments: dict[str, Any], message: CallMessage
    ) -> AnswerMessage:
        context = message.context
        token = context_var.set(context)
        try:
            answer = AnswerMessage.of(operation, await call(operation, arguments, context))
        except DomainError as refusal:
            answer = AnswerMessage.of_refusal(refusal)
        except NeedsNewerProgram as problem:
            raise _NotBegun(str(problem)) from problem
        except Exception as problem:
            failure = Failure.of(problem)
            if failure is None:
                log.exception("a call from another service failed", operation=str(operation))
                failure = Failure(
                    kind="failed",
                    reason=f"{operation} failed; the log of the service that runs it says more, under {context.id}.",
                )
            answer = AnswerMessage(failure=failure)
        finally:
            context_var.reset(token)
        if len(bytes(answer.result)) > MAX_BODY_BYTES:
            reason = f"The answer of {operation} has more than {MAX_BODY_BYTES} bytes; ask for it in pages."
            log.error("an answer is too large", operation=str(operation), reason=reason)
            has_run = operation.kind == "command"
            answer = AnswerMessage(failure=Failure(kind="answer-not-kept" if has_run else "misuse", reason=reason))
        return answer

    # --- logs ----------------------------------------------------------------------------------------------------

    async def _read(self, caller: str, module: str, query: str) -> PageMessage:
        source, seen = self._source(caller, module)
        asked = parse_qs(query)
        after, limit = _number(asked, "after"), min(_number(asked, "limit"), MAX_PAGE_EVENTS)
        types = frozenset(asked.get("types", [""])[0].split(","))
        if not types <= seen:
            raise Forbidden(f"The service {caller} has no part that reads {', '.join(sorted(types - seen))}.")
        async with self._pages:
            page = await source.feed.read(after, limit)
        if not page.events and page.position == after:
            head = await source.feed.head()
            if head < after:
                raise _NotBegun(
                    f"The log of {module} ends at position {head}, and {caller} has read it up to {after}: its store "
                    f"was restored alone. Restore all stores of one moment."
                )
        return _bounded_page(page.events, page.position, types)

    async def _head(self, caller: str, module: str, query: str) -> HeadMessage:
        """The head of a log, as soon as it has grown beyond a position; if it still has the event that is asked for."""
        source, _ = self._source(caller, module)
        asked = parse_qs(query)
        mark = _number(asked, "mark")
        if mark and await _id_at(source, mark) != asked.get("id", [""])[0]:
            raise _NotBegun(
                f"The log of {module} has another event at position {mark} than {caller} has seen there: its store "
                f"was restored alone, and {caller} may have missed events. Restore all stores of one moment."
            )
        after, wait = _number(asked, "after"), min(_number(asked, "wait"), MAX_WAIT_SECONDS)
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while True:
            seen = source.signal.seen()
            head = await source.feed.head()
            left = until - loop.time()
            if head != after or left <= 0 or self._stopping.is_set():
                return HeadMessage(head, await _id_at(source, head))
            await source.signal.wait(seen, min(left, POLL_SECONDS))

    def _source(self, caller: str, module: str) -> tuple[Source, frozenset[str]]:
        """A module's log, and the types of events that the caller may see."""
        seen = self._link(caller).feeds.get(module)
        if seen is None:
            raise Forbidden(f"The service {caller} has no part that reacts to events of {module}.")
        if module not in self._app.running:
            raise _NotBegun(f"The module {module} doesn't run here.")
        return self._app.running[module].source, seen

    def _link(self, caller: str) -> Link:
        if caller not in self._links:
            raise Forbidden(f"There is no service {caller!r} in the topology.")
        return self._links[caller]


async def _id_at(source: Source, position: int) -> str:
    """The id of the event at a position; empty if there is none."""
    page = await source.log.read_feed(position - 1, 1) if position else None
    return next((event.id for event in page.events if event.position == position), "") if page is not None else ""


def _bounded_page(events: Sequence[StoredEvent], position: int, types: frozenset[str]) -> PageMessage:
    """The events of some types, as far as the page isn't too large: it ends where a unit ends, after one at least."""
    size, sent = 0, list[StoredEvent]()
    for event in events:
        if event.type in types:
            sent.append(event)
            size += len(event.data) + len(event.metadata)
        if event.last and size > MAX_PAGE_BYTES:
            return PageMessage.of(sent, event.position)
    return PageMessage.of(sent, position)


def _number(asked: Mapping[str, list[str]], name: str) -> int:
    text = asked.get(name, ["0"])[0]
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ValueError(f"{name} must be a number")
    return int(text)
