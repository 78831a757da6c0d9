"""craton up --topology: all services of a topology, or one of them."""

import contextlib
import faulthandler
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from craton.adapters.http import ALL_ADDRESSES, asgi, listen, listen_at, origins_of, serve, serving_beside
from craton.adapters.services import Hosting
from craton.adapters.stores import stores_of
from craton.cli.children import Child
from craton.cli.load import WRONG_USE, fail, out, run
from craton.cli.procedures import procedures
from craton.cli.services import VARIABLE, Services
from craton.runtime.app import App
from craton.runtime.process.garbage import collect_rarely
from craton.runtime.process.watchdog import watched
from craton.runtime.settings import ToolkitSettings
from craton.runtime.topology import Address, Service, Topology

STOP_SECONDS: Final = 10.0


async def supervise(chosen: ToolkitSettings, app: App, topology: Topology, *, empty: bool) -> int:
    """Run all services and the gateway."""
    problems = list(topology.unfit_for_one_host())
    with_rpcs = [
        service.name
        for service in topology.services.values()
        if any(app.wiring.modules[module].rpcs is not None for module in service.modules)
    ]
    if len(with_rpcs) > 1 and chosen.grpc_port:
        problems.append(
            f"{' and '.join(with_rpcs)} have gRPC services, which can't share a port on one host: put these modules "
            "into one service, or start each service by itself with a CRATON_GRPC_PORT of its own"
        )
    if problems:
        fail("\n".join(f"{problem}." for problem in problems), WRONG_USE)
    services = Services(
        app, topology, chosen.data, empty=empty, tell=lambda address, said: _tell(app, topology, address, said)
    )
    return await services.run()


def _tell(app: App, topology: Topology, address: str, said: Sequence[str]) -> None:
    lines = [f"[bold]{app.name}[/bold] is up", f"  API      {address}", f"  docs     {address}/docs"]
    for service in topology.services.values():
        times = f" (x{service.replicas})" if service.replicas > 1 else ""
        lines.append(f"  {service.name:<8} {', '.join(service.modules)}{times}")
    out.print("\n".join([*lines, "  Ctrl-C to stop"]))
    for sentence in said:
        out.print(f"  {sentence}", markup=False)


async def serve_service(chosen: ToolkitSettings, app: App, topology: Topology, service: Service, number: int) -> None:
    """Serve one replica of a service."""
    child = _child()
    if child is not None:
        child.end_with_supervisor()
    collect_rarely()
    hosting = Hosting(app, topology, chosen.data, caller_seconds=chosen.caller_seconds)
    peers = hosting.peers(service.name)
    part = hosting.part(service, peers)
    open_store = stores_of(topology, os.environ, chosen.data, app.name, service.name)
    internal, public = service.own_endpoint(chosen.data, number), service.own_public_endpoint(chosen.data, number)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(peers.close)
        for_services = stack.enter_context(_listening(internal))
        for_clients = stack.enter_context(_listening(public))
        await stack.enter_async_context(run(part, open_store, chosen))
        application = asgi(part, origins=origins_of(chosen["origins"]), limited=chosen.are_limits_on)
        server = hosting.server(part, service)
        await stack.enter_async_context(watched())
        await stack.enter_async_context(serving_beside(server, for_services))
        said = await part.begin(empty=True)  # after that, because a start hook of another service may call this one
        grpc = await stack.enter_async_context(procedures(chosen, part, shared=service.replicas > 1))

        def stop() -> None:
            faulthandler.dump_traceback_later(STOP_SECONDS, exit=True)
            server.stop()
            grpc.stop()

        def has_started() -> None:
            told = [*said, *grpc.said, *_without_proxies(public, chosen)]
            if child is not None:
                child.has_started(told)
            else:
                _tell_one(part, service, public, told)

        await serve(
            application,
            for_clients,
            has_started=has_started,
            told_to_stop=stop,
            address_share=100,
            proxies="*" if public.is_socket else chosen["proxies"],
        )


def _without_proxies(public: Address, chosen: ToolkitSettings) -> Iterator[str]:
    """A sentence if clients would all have the gateway's address."""
    if not public.is_socket and not chosen["proxies"]:
        yield (
            "CRATON_PROXIES isn't set: behind a gateway all clients have the gateway's address, and limits count them "
            "as one."
        )


def _child() -> Child | None:
    """What the supervisor has given this process; None if nothing supervises it here."""
    text = os.environ.get(VARIABLE)
    return None if text is None else msgspec.json.decode(text, type=Child)


def _listening(address: Address) -> socket.socket:
    """Listen at one of the service's own addresses. A name stands for this host, so all its addresses are meant."""
    try:
        if address.is_socket:
            return listen_at(Path(address.path))
        is_local = address.host in ("localhost", "127.0.0.1", "::1")
        return listen(address.host if is_local else ALL_ADDRESSES, address.port)
    except (OSError, OverflowError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        fail(f"Can't listen at {address.text}: {reason}. Change the address in the topology, or stop what is there.")


def _tell_one(part: App, service: Service, public: Address, said: Sequence[str]) -> None:
    out.print(
        f"[bold]{part.name}[/bold]: the service {service.name} is up\n"
        f"  API      {public.text}\n"
        f"  modules  {', '.join(part.modules)}\n"
        f"  Ctrl-C to stop"
    )
    for sentence in said:
        out.print(f"  {sentence}", markup=False)
