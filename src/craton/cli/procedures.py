"""Serves gRPC beside HTTP, where the application has such services and the extra for them is installed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any, Final

from craton.application.errors import WiringError
from craton.runtime.app import App
from craton.runtime.settings import ToolkitSettings

NEEDED: Final = ("grpc", "grpc_health", "grpc_reflection", "grpc_status")


def are_served(app: App) -> bool:
    """Whether the application has gRPC services, and what serves them is installed."""
    return _has_services(app) and all(map(find_spec, NEEDED))


def _has_services(app: App) -> bool:
    return any(module.rpcs is not None for module in app.modules.values())


class Procedures:
    """What is said about gRPC at the start, and how it is told to stop."""

    def __init__(self, said: Sequence[str], end: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        self.said = said
        self._end = end
        self._stopping: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Accept no more calls. Those that run may end."""
        if self._end is not None and self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_task(self._end())

    async def stopped(self) -> None:
        self.stop()
        if self._stopping is not None:
            await self._stopping


@asynccontextmanager
async def procedures(chosen: ToolkitSettings, app: App, *, shared: bool) -> AsyncIterator[Procedures]:
    """Serve the modules' gRPC services during the block. Raises `WiringError` if they can't be served.

    `shared`: other processes of this host serve at the same port.
    """
    serving = await _started(chosen, app, shared=shared)
    try:
        yield serving
    finally:
        await serving.stopped()


async def _started(chosen: ToolkitSettings, app: App, *, shared: bool) -> Procedures:
    if not _has_services(app):
        return Procedures(())
    if not are_served(app):
        return Procedures(["gRPC isn't served: it needs pip install craton[grpc]."])
    if shared and chosen.grpc_port == 0:
        raise WiringError("several processes need one port of gRPC: set CRATON_GRPC_PORT to a number other than 0")
    from craton.adapters.grpc import GrpcServer  # noqa: PLC0415  (only where it is served)

    server = GrpcServer(
        app,
        chosen["host"],
        chosen.grpc_port,
        certificate=chosen["grpc_certificate"],
        key=chosen["grpc_key"],
        shared=shared,
    )
    try:
        port = await server.start()
    except OSError as problem:
        raise WiringError(f"{problem} Choose another with CRATON_GRPC_PORT") from problem
    encrypted = ", encrypted" if chosen["grpc_certificate"] else ""
    return Procedures([f"gRPC is served at {chosen['host']}:{port}{encrypted}."], server.stop)
