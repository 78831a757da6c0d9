"""Operators' questions and verbs, over all services of a topology: whichever service is asked answers for all of them.

Lists are put together from those of all services. A verb goes to the one service that has the module, the projection or
the saga. A service that doesn't answer within two seconds is named as missing and not waited for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from craton.application.api import OperationDefinition, operation_of
from craton.application.context import Context
from craton.application.errors import CallFailed, Unavailable
from craton.application.page import Page, Paging
from craton.domain import DomainError, NotFound, world
from craton.runtime.commands.results import Answer
from craton.runtime.operations.api import EventEntry, FoundEvents, Operations
from craton.runtime.operations.log import events_page, read_cursor, written_cursor
from craton.runtime.operations.refusals import AmbiguousProjection, AmbiguousStream
from craton.runtime.remote import Remote
from craton.runtime.sagas.directory import AmbiguousSaga

LOOK_SECONDS: Final = 2.0
MAX_LISTED: Final = 10_000
"""How many entries of each service are put together at most; the pages beyond are empty."""
HERE: Final = ""

Here = Callable[[OperationDefinition, dict[str, Any], Context], Awaitable[Answer]]

_TUPLES: Final = (
    operation_of(Operations.readers),
    operation_of(Operations.projections),
    operation_of(Operations.leases),
)
_SORTED: Final[dict[OperationDefinition, tuple[Callable[[Any], Any], bool]]] = {
    operation_of(Operations.parked): (lambda one: (one.since, one.module, one.reader, one.position), False),
    operation_of(Operations.timers): (lambda one: (one.due, one.module, one.id), False),
    operation_of(Operations.audit): (lambda one: (one.time, one.position), True),
    operation_of(Operations.sagas): (lambda one: one.started_at, True),
}
"""How the entries of each list are ordered, and whether backwards."""
_EVENTS: Final = operation_of(Operations.events)
_FINDING: Final = {
    "name": operation_of(Operations.projection),
    "saga": operation_of(Operations.saga),
    "stream": operation_of(Operations.stream),
}
"""How a service is found that has what an argument names."""


async def operate_everywhere(
    remote: Remote, here: Here, operation: OperationDefinition, arguments: dict[str, Any], context: Context
) -> Answer:
    """Run one operation of `Operations` over all services; `here` runs it in this one."""
    fan = _Fan(remote, here, context)
    if arguments.get("module") is not None:
        return await fan.ask(fan.service_of(arguments["module"]), operation, arguments)
    if operation in _TUPLES:
        found = await fan.ask_all(operation, arguments)
        return fan.answer(tuple(one for answer in found.values() for one in answer.result))
    if operation in _SORTED:
        return await _page(fan, operation, arguments)
    if operation == _EVENTS:
        return await _events(fan, arguments)
    service = await _having(fan, arguments)
    return await fan.ask(service, operation, arguments)


class _Fan:
    """One question to all services."""

    def __init__(self, remote: Remote, here: Here, context: Context) -> None:
        self._remote = remote
        self._here = here
        self._context = context
        self._missing: list[str] = []

    def service_of(self, module: str) -> str:
        """The service that runs a module; this one for a name that no module has, because it refuses that."""
        return next((name for name, modules in self._remote.services.items() if module in modules), HERE)

    def answer(self, result: Any) -> Answer:
        return Answer(result, missing=tuple(sorted(self._missing)))

    async def ask(self, service: str, operation: OperationDefinition, arguments: dict[str, Any]) -> Answer:
        if service == HERE:
            return await self._here(operation, arguments, self._context)
        return await self._remote.operate(service, operation, arguments, self._context)

    async def ask_all(
        self, operation: OperationDefinition, arguments: dict[str, Any], only: Sequence[str] | None = None
    ) -> dict[str, Answer]:
        """The answers of all services, or of some, by their names. Raises a refusal of any of them."""
        names = [HERE, *self._remote.services] if only is None else only
        soon = world.monotonic() + LOOK_SECONDS
        deadline = soon if self._context.deadline is None else min(soon, self._context.deadline)
        hurried = msgspec.structs.replace(self._context, deadline=deadline)

        async def ask(name: str) -> Answer | None:
            if name == HERE:
                return await self._here(operation, arguments, self._context)
            try:
                return await self._remote.operate(name, operation, arguments, hurried)
            except CallFailed:
                self._missing.append(name)
                return None

        answers = await asyncio.gather(*map(ask, names))
        return {name: answer for name, answer in zip(names, answers, strict=True) if answer is not None}

    async def find(self, operation: OperationDefinition, arguments: dict[str, Any]) -> list[str]:
        """The services that don't answer a question with "not found". Raises `Unavailable` if a missing one might."""
        refused: list[DomainError] = []

        async def has(name: str) -> bool:
            try:
                return bool(await self.ask_all(operation, arguments, [name]))
            except NotFound as refusal:
                refused.append(refusal)
                return False

        names = [HERE, *self._remote.services]
        having = [name for name, found in zip(names, await asyncio.gather(*map(has, names)), strict=True) if found]
        if not having and self._missing:
            raise Unavailable(
                f"It may be in a service that doesn't answer now: {', '.join(sorted(self._missing))}.",
                maybe_executed=False,
            )
        if not having:
            raise refused[0]
        return having


async def _page(fan: _Fan, operation: OperationDefinition, arguments: dict[str, Any]) -> Answer:
    """A page of a list of all services. Each is asked for all that may be on or before this page."""
    paging: Paging = arguments["paging"]
    wanted = min(paging.offset + paging.page_size, MAX_LISTED)
    found = await fan.ask_all(operation, {**arguments, "paging": Paging(1, wanted)})
    pages: list[Page[Any]] = [answer.result for answer in found.values()]
    key, is_reversed = _SORTED[operation]
    items = sorted((item for page in pages for item in page.items), key=key, reverse=is_reversed)
    shown = items[paging.offset : paging.offset + paging.page_size]
    return fan.answer(Page.of(shown, sum(page.total for page in pages), paging))


async def _events(fan: _Fan, arguments: dict[str, Any]) -> Answer:
    """Events of all services, newest first, continued where the last answer ended."""
    cursor = read_cursor(arguments["after"])
    if not cursor:
        found = await fan.ask_all(_EVENTS, arguments)
    else:
        parts: dict[str, dict[str, int]] = {}
        for module, position in cursor.items():
            parts.setdefault(fan.service_of(module), {})[module] = position
        answers = [
            await fan.ask_all(_EVENTS, {**arguments, "after": written_cursor(part)}, [name])
            for name, part in parts.items()
        ]
        found = {name: answer for part in answers for name, answer in part.items()}
    results: list[FoundEvents] = [answer.result for answer in found.values()]
    by_module: dict[str, list[EventEntry]] = {}
    reached: dict[str, int] = {}
    for result in results:
        reached |= read_cursor(result.next)
        for event in result.events:
            by_module.setdefault(event.module, []).append(event)
    shown, left = events_page(list(by_module.values()), arguments["limit"])
    for event in reversed(left):  # the next page of a module begins with its newest event that isn't shown
        reached[event.module] = event.position + 1
    return fan.answer(FoundEvents(events=tuple(shown), next=written_cursor(reached)))


async def _having(fan: _Fan, arguments: Mapping[str, Any]) -> str:
    """The one service that has what the arguments name. Raises the refusal if none or several have it."""
    (what,) = (name for name in _FINDING if name in arguments)
    question = _FINDING[what]
    named = {name: arguments.get(name, default) for name, default in question.defaults.items()}
    having = await fan.find(question, {**named, what: arguments[what]})
    if len(having) > 1:
        if what == "saga":
            raise AmbiguousSaga()
        if what == "stream":
            raise AmbiguousStream(modules=tuple(having))
        raise AmbiguousProjection(projections=tuple(having))
    return having[0]
