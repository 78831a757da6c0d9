"""The processes of a market that runs as services, which a supervisor has started."""

import contextlib
from pathlib import Path
from typing import Final

from craton.testing.crash import Process

SERVICES: Final = ("shop", "money", "people")


def processes(market: Process) -> dict[str, int]:
    """The process of each replica, such as `shop.1`, and that of the `gateway`."""
    found: dict[str, int] = {}
    for pid in Path(f"/proc/{market.pid}/task/{market.pid}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            found[_name(command)] = int(pid)
    return found


def _name(command: list[str]) -> str:
    """The name in `craton up … shop --replica 1`."""
    if "--replica" not in command:
        return "gateway"
    at = command.index("--replica")
    return f"{command[at - 1]}.{command[at + 1]}"


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
