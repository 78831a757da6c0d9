"""Craton and its peers, side by side: alternating runs, medians, a table in Markdown.

The machine's speed swings from minute to minute, so read the ratios: how many times better Craton is than the peer.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import go_peers
from benchmarks.postgres import drop_schemas, is_postgres
from benchmarks.scenarios import PEERS, PEERS_PYTHON, PEERS_VENV, ROOT, Metric, Scenario, scenarios

ROUNDS = 5
QUICK_ROUNDS = 2
RUN_SECONDS = 1_800.0
PEER_SCHEMAS = ("peer_eventsourcing", "peer_fastapi", "peer_orders")

Report = dict[str, float]


def make_peers_environment() -> None:
    """Give the peers an environment of their own, unless it is there."""
    if PEERS_VENV.exists():
        return
    say(f"making {PEERS_VENV.name} for the peers")
    venv.create(PEERS_VENV, with_pip=True)
    requirements = str(PEERS / "requirements.txt")
    subprocess.run([PEERS_PYTHON, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)


def run(command: list[str]) -> Report:
    """Run one side once; its report is its last line."""
    try:
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=RUN_SECONDS)
    except subprocess.CalledProcessError as problem:
        raise SystemExit(f"{' '.join(command[1:3])} failed:\n{problem.stderr}{problem.stdout}") from None
    report: Report = json.loads(ended.stdout.splitlines()[-1])
    return report


def measure(scenario: Scenario, store: str, rounds: int) -> tuple[list[Report], list[Report]]:
    """Run both sides in turn, so that a slow phase of the machine affects both."""
    ours: list[Report] = []
    theirs: list[Report] = []
    for number in range(1, rounds + 1):
        with TemporaryDirectory(prefix="bench-", dir=scratch()) as folder:
            craton = scenario.craton(store, Path(folder))
            peer = scenario.peer(store, Path(folder)) if scenario.peer else None
            if craton is None:
                raise SystemExit(f"{scenario.name} doesn't run on {store}")
            ours.append(run(craton))
            if peer is not None:
                theirs.append(run(peer))
        say(f"{scenario.name} {number}/{rounds}: {ours[-1]} | {theirs[-1] if theirs else '-'}")
    return ours, theirs if scenario.peer else ours


def scratch() -> Path:
    """Where files go: in the project's own folder, since a system's /tmp may be memory, where durability is free."""
    folder = ROOT / "var"
    folder.mkdir(exist_ok=True)
    return folder


def row(scenario: Scenario, metric: Metric, store: str, ours: list[Report], theirs: list[Report]) -> str:
    craton = median(report[metric.key] for report in ours)
    cells = [metric.title, "Postgres" if is_postgres(store) else "SQLite", with_cpu(figure(craton, metric), ours)]
    if theirs:
        peer = median(report[metric.peer_key or metric.key] for report in theirs)
        ratio = peer / craton if metric.lower_is_better else craton / peer
        cells += [
            f"{with_cpu(figure(peer, metric), theirs)} ({scenario.peer_name})",
            f"{ratio:.2g}x" if ratio < 10 else f"{ratio:.0f}x",
        ]
    else:
        cells += ["-", "-"]
    return f"| {' | '.join(cells)} |"


def figure(value: float, metric: Metric) -> str:
    return f"{value:,.2f}{metric.unit}" if metric.lower_is_better else f"{value:,.0f}{metric.unit}"


def with_cpu(shown: str, reports: list[Any]) -> str:
    """A figure, and the CPU time of a request where it was measured: that of the server and of Postgres."""
    used = [report["cpu_us"] for report in reports if "cpu_us" in report]
    if not used:
        return shown
    server, postgres = (median(each[name] for each in used) for name in ("server", "postgres"))
    return f"{shown}, {server:.0f} + {postgres:.0f} µs"


def rows(options: argparse.Namespace) -> Iterator[str]:
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    yield f"Medians of {rounds} rounds; {os.cpu_count()} CPUs, Python {platform.python_version()}."
    yield ""
    yield "| scenario | store | craton | peer | ratio |"
    yield "|---|---|--:|--:|--:|"
    for store in options.store or ["sqlite"]:
        for scenario in scenarios(quick=options.quick):
            if not scenario.name.startswith(options.only):
                continue
            if scenario.needs_postgres and not is_postgres(store):
                continue
            if scenario.needs_go and not go_peers.is_installed():
                say(f"{scenario.name} is left out: it needs Go (benchmarks/peers/go/README.md)")
                continue
            ours, theirs = measure(scenario, store, rounds)
            for metric in scenario.metrics:
                yield row(scenario, metric, store, ours, theirs)


def say(text: Any) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure Craton beside its peers.")
    parser.add_argument("--quick", action="store_true", help="two short rounds, to check that it works")
    parser.add_argument("--only", default="", metavar="NAME", help="run only the scenarios whose names begin with this")
    parser.add_argument("--store", action="append", help="sqlite (the default) or postgresql://…; may be repeated")
    options = parser.parse_args()
    make_peers_environment()
    try:
        for line in list(rows(options)):
            print(line)
    finally:
        for store in filter(is_postgres, options.store or []):
            asyncio.run(drop_schemas(store, *PEER_SCHEMAS))


if __name__ == "__main__":
    main()
