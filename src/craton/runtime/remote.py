"""The modules that run in other services, as a service reaches them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from craton.application.api import OperationDefinition
from craton.application.context import Context
from craton.runtime.commands.results import Answer
from craton.runtime.subscriptions.feed import Log


class LogMark(msgspec.Struct, frozen=True):
    """An event of a log, by which the log is recognised: if the log was restored from a backup and has grown since,
    another event is at this position."""

    position: int
    id: str


class RemoteLog(Log, Protocol):
    """The log of a module that another service runs. It is read only as long as `mark` is one of its events."""

    mark: LogMark | None
    """The newest event that is known of it."""

    async def grown(self, after: int) -> int:
        """Wait until the log has grown beyond a position, but not for ever; return its head. Raises
        `StoreUnavailable`."""


class Remote(Protocol):
    """The other services."""

    @property
    def services(self) -> Mapping[str, Collection[str]]:
        """The names of the other services, each with those of its modules."""

    @property
    def away(self) -> Sequence[str]:
        """The services that haven't answered when they were last asked."""

    async def call(
        self, module: str, operation: OperationDefinition, arguments: dict[str, Any], context: Context
    ) -> Answer:
        """Run an operation in the service that runs a module. Raises what a call in this process raises."""

    async def operate(
        self, service: str, operation: OperationDefinition, arguments: dict[str, Any], context: Context
    ) -> Answer:
        """Run an operation of `Operations` in one service, for that service alone."""

    def log(self, module: str, types: Collection[str]) -> RemoteLog:
        """The log of a module; its reader asks only for events of these types."""
