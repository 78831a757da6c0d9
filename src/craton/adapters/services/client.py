"""Calls operations of modules that other services run, and reads their logs.

A command has a key, its caller's or one that is made for the call, so it can be sent again after its connection was
broken: it has one effect, and one answer. A query is asked once more. A call that is only slow isn't repeated: it has
all the time that its caller has. `Unavailable` says that a command can't have run only if the connection was refused,
or if the service itself has said that it didn't begin.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import aiohttp
import msgspec
import structlog

from craton.adapters.services.endpoints import CONNECT_SECONDS, Endpoint, Endpoints
from craton.adapters.services.identity import Sign
from craton.adapters.services.wire import (
    MAX_BODY_BYTES,
    MAX_PAGE_BYTES,
    NOT_BEGUN,
    AnswerMessage,
    CallMessage,
    HeadMessage,
    PageMessage,
)
from craton.application.api import OperationDefinition
from craton.application.codec import decode, encode
from craton.application.command_keys import CommandKey
from craton.application.context import Context
from craton.application.errors import DeadlineExceeded, MisuseError, Unavailable
from craton.domain import uuid7, world
from craton.ports import FeedPage, LogUnavailable
from craton.runtime.commands.results import Answer
from craton.runtime.projections.handler import describe
from craton.runtime.remote import LogMark, RemoteLog
from craton.runtime.topology import Address

CALL_SECONDS: Final = 30.0
"""How long a call may take that has no deadline of its own."""
MAX_ATTEMPTS: Final = 3
QUERY_ATTEMPTS: Final = 2
AGAIN_SECONDS: Final = 0.05
"""The pause before the first repetition; each further one waits twice as long."""
PAGE_SECONDS: Final = 5.0
WAIT_SECONDS: Final = 4.0
"""How long a service may hold back the answer to the question whether its log has grown."""
OVERHEAD_BYTES: Final = 64 * 1024
"""What an answer may be larger than its result."""


log = structlog.get_logger("craton.services")


class _NoAnswer(Exception):
    """A request has ended without an answer of the service."""

    def __init__(self, reason: str, *, maybe_executed: bool) -> None:
        super().__init__(reason)
        self.maybe_executed = maybe_executed


class _Refused(_NoAnswer):
    """The service has answered that it does nothing of what was asked."""


class Peers:
    """The services as the one called `own` reaches them. `addresses` are those of each, `service_of` names the service
    of each module."""

    def __init__(
        self,
        own: str,
        addresses: Mapping[str, Collection[Address]],
        service_of: Mapping[str, str],
        sign: Sign,
    ) -> None:
        self._endpoints = {name: Endpoints(name, tuple(found)) for name, found in addresses.items()}
        self._service_of = service_of
        self.services: Mapping[str, Collection[str]] = {
            other: [module for module, name in service_of.items() if name == other]
            for other in addresses
            if other != own
        }
        self._sign = sign

    @property
    def away(self) -> Sequence[str]:
        """The services that haven't answered when they were last asked."""
        return [name for name in self.services if self._endpoints[name].are_away]

    async def close(self) -> None:
        await asyncio.gather(*(endpoints.close() for endpoints in self._endpoints.values()))

    async def call(
        self, module: str, operation: OperationDefinition, arguments: dict[str, Any], context: Context
    ) -> Answer:
        """Run an operation in the service that runs a module."""
        path = f"/calls/{module}/{operation.name}"
        return await self._ask(self._service_of[module], path, operation, arguments, context)

    async def operate(
        self, service: str, operation: OperationDefinition, arguments: dict[str, Any], context: Context
    ) -> Answer:
        """Run an operation of `Operations` in a service."""
        return await self._ask(service, f"/operations/{operation.name}", operation, arguments, context)

    def log(self, module: str, types: Collection[str]) -> RemoteLog:
        """The log of a module; its reader asks only for events of these types."""
        service = self._service_of[module]
        return ServiceLog(module, service, self._endpoints[service], self._sign, types)

    async def _ask(
        self,
        service: str,
        path: str,
        operation: OperationDefinition,
        arguments: dict[str, Any],
        context: Context,
    ) -> Answer:
        is_command = operation.kind == "command"
        if is_command and context.key is None:
            context = msgspec.structs.replace(context, key=CommandKey(f"call/{uuid7()}"))
        remaining = context.remaining()
        deadline = world.monotonic() + (CALL_SECONDS if remaining is None else remaining)
        message = CallMessage.of(operation, arguments, context)
        attempts = MAX_ATTEMPTS if is_command else QUERY_ATTEMPTS
        maybe_executed, endpoint, pause = False, None, AGAIN_SECONDS
        while True:
            try:
                endpoint = await self._endpoints[service].choose(deadline, avoided=endpoint)
                body = await self._post(service, endpoint, path, message, deadline)
                return decode(AnswerMessage, body).answer(operation)
            except _NoAnswer as problem:
                maybe_executed |= is_command and problem.maybe_executed
                attempts -= 1
                if world.monotonic() >= deadline:
                    raise DeadlineExceeded(str(problem), maybe_executed=maybe_executed) from problem
                if not attempts:
                    raise Unavailable(str(problem), maybe_executed=maybe_executed) from problem
            except msgspec.ValidationError as problem:
                raise Unavailable(
                    f"The answer of {operation} doesn't fit this version of it: {problem}", maybe_executed=is_command
                ) from problem
            except Unavailable as problem:
                if maybe_executed and not problem.maybe_executed:  # an earlier attempt may have run
                    raise Unavailable(str(problem), maybe_executed=True, retry_after=problem.retry_after) from problem
                raise
            if maybe_executed and message.key is not None:
                message = msgspec.structs.replace(message, key=msgspec.structs.replace(message.key, is_repeated=True))
            await asyncio.sleep(min(pause + world.jitter(pause), max(0.0, deadline - world.monotonic())))
            pause *= 2

    async def _post(self, service: str, endpoint: Endpoint, path: str, message: CallMessage, deadline: float) -> bytes:
        left = deadline - world.monotonic()
        if left <= 0:
            raise DeadlineExceeded("The deadline passed before the call was sent.", maybe_executed=False)
        body = encode(msgspec.structs.replace(message, seconds=left))
        if len(body) > MAX_BODY_BYTES:
            raise MisuseError(f"the arguments have more than {MAX_BODY_BYTES} bytes, which a call can't have")
        return await _exchange(endpoint, "POST", path, self._sign(service), left, body=body)


class ServiceLog:
    """The log of a module, in the service that runs it."""

    def __init__(self, module: str, service: str, endpoints: Endpoints, sign: Sign, types: Collection[str]) -> None:
        self.mark: LogMark | None = None
        self._is_recognised = False
        self._path = f"/feeds/{module}"
        self._service = service
        self._endpoints = endpoints
        self._sign = sign
        self._types = ",".join(sorted(types))
        self._refused = ""
        """Why the service last refused to be read; each reason is logged once."""

    async def read_feed(self, after: int, limit: int) -> FeedPage:
        if not self._is_recognised:
            await self.head()
        asked = {"after": str(after), "limit": str(limit), "types": self._types}
        found: PageMessage = await self._get(self._path, asked, PAGE_SECONDS, PageMessage)
        page = found.page
        if page.events:
            self._note(page.events[-1].position, page.events[-1].id)
        return page

    async def head(self) -> int:
        return await self._look({}, PAGE_SECONDS)

    async def grown(self, after: int) -> int:
        return await self._look({"after": str(after), "wait": str(int(WAIT_SECONDS))}, WAIT_SECONDS + PAGE_SECONDS)

    async def _look(self, asked: dict[str, str], seconds: float) -> int:
        if self.mark is not None:
            asked |= {"mark": str(self.mark.position), "id": self.mark.id}
        try:
            found: HeadMessage = await self._get(f"{self._path}/head", asked, seconds, HeadMessage)
        except LogUnavailable:
            self._is_recognised = False
            raise
        self._is_recognised = True
        self._note(found.head, found.id)
        return found.head

    def _note(self, position: int, id: str) -> None:
        if id and (self.mark is None or position > self.mark.position):
            self.mark = LogMark(position, id)

    async def _get(self, path: str, asked: Mapping[str, str], seconds: float, kind: Any) -> Any:
        try:
            endpoint = await self._endpoints.choose(world.monotonic() + seconds)
            wire = await _exchange(
                endpoint, "GET", path, self._sign(self._service), seconds, asked=asked, most=MAX_PAGE_BYTES
            )
        except (_NoAnswer, Unavailable) as problem:
            if isinstance(problem, _Refused) and self._refused != str(problem):
                self._refused = str(problem)
                log.error("a log can't be read", path=self._path, reason=self._refused)
            raise LogUnavailable(str(problem), maybe_executed=False) from problem
        return msgspec.msgpack.decode(wire, type=kind)


async def _exchange(
    endpoint: Endpoint,
    method: str,
    path: str,
    headers: Mapping[str, str],
    seconds: float,
    *,
    body: bytes | None = None,
    asked: Mapping[str, str] | None = None,
    most: int = MAX_BODY_BYTES + OVERHEAD_BYTES,
) -> bytes:
    """One request to one replica. Raises `_NoAnswer`."""
    limits = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, CONNECT_SECONDS))
    began = world.monotonic()
    try:
        with endpoint.asking() as session:
            async with session.request(
                method,
                endpoint.base + path,
                data=body,
                params=asked,
                headers=headers,
                timeout=limits,
                allow_redirects=False,
            ) as answer:
                wire = bytearray()
                async for chunk in answer.content.iter_any():
                    wire += chunk
                    if len(wire) > most:
                        raise _NoAnswer(f"{endpoint.name} has answered more than {most} bytes.", maybe_executed=True)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as problem:
        endpoint.has_failed(began, describe(problem))
        raise _NoAnswer(f"{endpoint.name} can't be reached: {describe(problem)}.", maybe_executed=False) from problem
    except TimeoutError as problem:
        endpoint.renew_connections()  # the others may be as silent as this one
        raise _NoAnswer(f"{endpoint.name} hasn't answered in time.", maybe_executed=True) from problem
    except (aiohttp.ClientError, OSError) as problem:
        endpoint.has_failed(began, describe(problem))
        raise _NoAnswer(f"{endpoint.name} hasn't answered: {describe(problem)}.", maybe_executed=True) from problem
    endpoint.has_answered()
    if answer.status == 200:
        return bytes(wire)
    said = bytes(wire[:1_000]).decode(errors="replace")
    if answer.headers.get(NOT_BEGUN.decode()) == "1":
        raise _Refused(f"{endpoint.name} has refused the request: {said}", maybe_executed=False)
    raise _NoAnswer(f"{endpoint.name} has answered with status {answer.status}: {said}", maybe_executed=True)
