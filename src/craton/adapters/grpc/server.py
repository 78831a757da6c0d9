"""Serves the modules' gRPC services, with health checks and reflection, until it is told to stop."""

import asyncio
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from craton.adapters.callers import Callers
from craton.adapters.grpc.binding import Binding, wrong_messages
from craton.adapters.grpc.procedure import Procedure
from craton.application.errors import WiringError
from craton.application.module import Module
from craton.application.rpcs import Rpc, Rpcs
from craton.runtime.app import App

MAX_MESSAGE_BYTES: Final = 1024 * 1024
MAX_CONCURRENT_CALLS: Final = 1_000
LOOK_SECONDS: Final = 2.0
"""How often health checks look whether the stores can be reached."""
FINISH_SECONDS: Final = 4.0
"""How long calls may continue after the server was told to stop."""


class GrpcServer:
    """The gRPC services of a running app. `certificate` and `key` are PEM files: with them, connections are encrypted.

    Raises `WiringError` for tables that don't fit their .proto files, and for files that can't be used.
    """

    def __init__(
        self, app: App, host: str, port: int, *, certificate: str = "", key: str = "", shared: bool = False
    ) -> None:
        """`shared`: other processes of the application listen on the same port."""
        self._app = app
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._credentials = _credentials(certificate, key)
        self._health = health.aio.HealthServicer()
        self._looking: asyncio.Task[None] | None = None
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", int(shared)),
            ],
            maximum_concurrent_rpcs=MAX_CONCURRENT_CALLS,
        )
        self._services = [self._add(module, module.rpcs) for module in app.modules.values() if module.rpcs is not None]
        for name in self._services:
            if self._services.count(name) > 1:
                raise WiringError(f"app {app.name}: two modules serve {name}")
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self) -> int:
        """Listen; return the port. Raises `OSError`."""
        try:
            if self._credentials is None:
                port = self._server.add_insecure_port(self._address)
            else:
                port = self._server.add_secure_port(self._address, self._credentials)
        except RuntimeError as problem:
            what = "is the port taken?" if self._credentials is None else "is the port taken, or the certificate wrong?"
            raise OSError(f"gRPC can't listen on {self._address}; {what}") from problem
        await self._server.start()
        self._looking = asyncio.create_task(self._look())
        return int(port)

    async def stop(self) -> None:
        """Accept no more calls, and finish those that run."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(FINISH_SECONDS)
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _look(self) -> None:
        """Tell health checks, again and again, whether the app can serve."""
        while True:
            serving = health_pb2.HealthCheckResponse.ServingStatus
            status = serving.NOT_SERVING if await self._app.failing() else serving.SERVING
            for name in ("", *self._services):
                await self._health.set(name, status)
            await asyncio.sleep(LOOK_SECONDS)

    def _add(self, module: Module, table: Rpcs) -> str:
        service = _described(module, table)
        guarded = [rpc.name for rpc in table if rpc.caller is not None or not rpc.access.public]
        if guarded and self._app.authenticate is None:
            raise WiringError(
                f"app {self._app.name}: {table.service}.{guarded[0]} is not for strangers, and nothing tells who "
                f"calls: give the App an `authenticate`, or the procedure `access=public`"
            )
        callers = Callers(self._app)
        handlers = {}
        for rpc in table:
            binding = Binding(rpc, service.methods_by_name[rpc.name])
            handlers[rpc.name] = grpc.unary_unary_rpc_method_handler(
                Procedure(self._app, callers, rpc, binding).respond,
                response_serializer=binding.answer.SerializeToString,
            )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(table.service, handlers),))
        return table.service


def _described(module: Module, table: Rpcs) -> ServiceDescriptor:
    """The service of a table, as the generated code describes it. Raises `WiringError`."""
    try:
        generated: Any = importlib.import_module(table.generated)
    except ImportError as problem:
        raise WiringError(
            f"module {module.name}: {table.generated} can't be imported ({problem}); generate it from its .proto file "
            f"with `make install`"
        ) from problem
    name = table.service.rpartition(".")[2]
    service: ServiceDescriptor | None = generated.DESCRIPTOR.services_by_name.get(name)
    if service is None or service.full_name != table.service:
        raise WiringError(f"module {module.name}: {table.generated} has no service {table.service}")
    mistakes = _mistakes(module, service, list(table))
    wrong = [f"module {module.name}: {table.service}: {mistake}" for mistake in mistakes]
    if wrong:
        raise WiringError("; ".join(wrong))
    return service


def _mistakes(module: Module, service: ServiceDescriptor, rpcs: list[Rpc]) -> Iterator[str]:
    names = [rpc.name for rpc in rpcs]
    for name in sorted(set(service.methods_by_name) - set(names)):
        yield f"the table has no {name}"
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{name} is in the table twice"
    for rpc in rpcs:
        if rpc.operation.api is not module.api:
            yield f"{rpc.operation} is another module's; a procedure calls its own module's {module.api.__name__}"
        method = service.methods_by_name.get(rpc.name)
        if method is None:
            yield f"the .proto file has no {rpc.name}"
        else:
            yield from wrong_messages(rpc, method)


def _credentials(certificate: str, key: str) -> grpc.ServerCredentials | None:
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise WiringError("CRATON_GRPC_CERTIFICATE and CRATON_GRPC_KEY must be set both, or neither")
    try:
        pair = Path(key).read_bytes(), Path(certificate).read_bytes()
    except OSError as problem:
        raise WiringError(f"the certificate of gRPC or its key can't be read: {problem.strerror}") from problem
    return grpc.ssl_server_credentials([pair])
