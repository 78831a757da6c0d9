"""The CPU time of processes, as Linux counts it in /proc."""

import os
from collections.abc import Mapping
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")

Processes = dict[int, tuple[str, int, float]]
"""By process id: the program's name, the parent, and the seconds it has used with its ended children."""


def processes() -> Processes:
    found: Processes = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:  # it has ended meanwhile
                continue
            name = text[text.index("(") + 1 : text.rindex(")")]
            fields = text[text.rindex(")") + 2 :].split()
            found[int(entry.name)] = name, int(fields[1]), sum(map(int, fields[11:15])) / TICKS
    return found


def family(root: int, all_processes: Processes) -> float:
    """The seconds of a process and of all its descendants."""
    children = [pid for pid, (_, parent, _) in all_processes.items() if parent == root]
    own = all_processes[root][2] if root in all_processes else 0.0
    return own + sum(family(child, all_processes) for child in children)


def used(watched: Mapping[str, int]) -> dict[str, float]:
    """The seconds that the watched processes, Postgres and Redis have used so far."""
    now = processes()
    seconds = {name: family(root, now) for name, root in watched.items()}
    for program in ("postgres", "redis-server"):
        roots = [pid for pid, (name, parent, _) in now.items() if name == program and now.get(parent, ("",))[0] != name]
        seconds[program] = sum(family(root, now) for root in roots)
    return seconds
