"""The comparisons: for each scenario the command that runs it on Craton and the one that runs its peer."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.postgres import is_postgres

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks" / "peers"
PEERS_VENV = ROOT / ".venv-peers"
PEERS_PYTHON = str(PEERS_VENV / ("Scripts" if sys.platform == "win32" else "bin") / "python")

Program = Callable[[str, Path], list[str] | None]
"""The command for a store and a folder for files; None when the program doesn't run on that store."""


@dataclass(frozen=True)
class Metric:
    """One row of the table: a key of the reports of both sides."""

    title: str
    key: str = "rate"
    peer_key: str = ""
    unit: str = "/s"

    @property
    def lower_is_better(self) -> bool:
        return self.unit in (" ms", " s")


@dataclass(frozen=True)
class Scenario:
    """One comparison. Without a command for the peer, the peer's figures are taken from Craton's own report."""

    name: str
    metrics: tuple[Metric, ...]
    craton: Program
    peer: Program | None
    peer_name: str
    needs_postgres: bool = False
    needs_go: bool = False


ORM, RAW, GORM, GO = "FastAPI + SQLAlchemy", "FastAPI + asyncpg", "Gin + GORM", "net/http + pgx in Go"
REDIS = "127.0.0.1:6379"


def percentiles(title: str) -> tuple[Metric, Metric]:
    """The two rows of a latency."""
    return Metric(f"{title}, median", "p50_ms", "p50_ms", " ms"), Metric(f"{title}, 99 %", "p99_ms", "p99_ms", " ms")


def craton(*arguments: str) -> Program:
    command = [sys.executable, "-m", "benchmarks.craton_side", *arguments]
    return lambda store, data: [*command, "--store", store, "--data", str(data)]


def eventsourcing(*arguments: str) -> Program:
    command = [PEERS_PYTHON, str(PEERS / "eventsourcing_peer.py"), *arguments]

    def program(store: str, data: Path) -> list[str]:
        url = store if is_postgres(store) else f"sqlite:///{(data / 'peer.db').resolve()}"
        return [*command, "--store", url]

    return program


def on_postgres(*command: str) -> Program:
    return lambda store, _: [*command, "--store", store] if is_postgres(store) else None


def craton_http(*arguments: str) -> Program:
    command = [sys.executable, "-m", "benchmarks.http_side", "craton", *arguments]
    return lambda store, data: [*command, "--store", store, "--data", str(data)]


def fastapi_http(*arguments: str) -> Program:
    return on_postgres(sys.executable, "-m", "benchmarks.http_side", "peer", "--python", PEERS_PYTHON, *arguments)


def orders(side: str, what: str, *arguments: str) -> Program:
    command = [sys.executable, "-m", "benchmarks.orders_side", side, what, "--python", PEERS_PYTHON, *arguments]
    if side not in ("market", "services", "alone"):
        return on_postgres(*command)
    return lambda store, data: [*command, "--store", store, "--data", str(data)]


def services(*arguments: str) -> Program:
    command = [sys.executable, "-m", "benchmarks.services_side", *arguments]
    return lambda store, data: [*command, "--store", store, "--data", str(data)]


def calls(*arguments: str) -> Program:
    return lambda store, _: [PEERS_PYTHON, str(PEERS / "calls_peer.py"), *arguments, "--store", store]


def scenarios(*, quick: bool) -> list[Scenario]:
    seconds = ("--seconds", "2" if quick else "5")
    events = ("--events", "20000" if quick else "50000")
    # The peer rebuilds about a thousand events a second, so it is given fewer.
    few = ("--events", "2000" if quick else "5000")
    many = "100000" if quick else "5000000"
    hot = ("hot", "--callers", "32", *seconds)
    batched = (sys.executable, "-m", "benchmarks.batched_rows", "--batch")
    return [
        *(
            Scenario(
                f"append-{callers}",
                (Metric(f"append an event, {callers} caller{'s' * (callers > 1)}"),),
                craton("append", "--callers", str(callers), *seconds),
                eventsourcing("append", "--callers", str(callers), *seconds),
                "eventsourcing",
            )
            for callers in (1, 16, 64, 256)
        ),
        *(
            Scenario(
                f"append-{callers}-bound",
                (Metric(f"append, {callers} callers; the rows alone, {callers} a batch"),),
                craton("append", "--callers", str(callers), *seconds),
                on_postgres(*batched, str(callers), *seconds),
                "upper bound",
                needs_postgres=True,
            )
            for callers in (16, 64)
        ),
        Scenario(
            "linear",
            (Metric(f"append, 64 callers; {int(many):,} events in the store", "rate_full", "rate_empty"),),
            craton("linear", "--callers", "64", "--events", many, *seconds),
            None,
            "itself, empty",
        ),
        Scenario(
            "latency",
            percentiles("append at 50 a second"),
            craton("latency", "--rate", "50", *seconds),
            eventsourcing("latency", "--rate", "50", *seconds),
            "eventsourcing",
        ),
        Scenario(
            "feed", (Metric("read the feed"),), craton("feed", *events), eventsourcing("feed", *events), "eventsourcing"
        ),
        Scenario(
            "rebuild",
            (Metric("rebuild a projection"),),
            craton("rebuild", *events),
            eventsourcing("rebuild", *few),
            "eventsourcing",
        ),
        Scenario(
            "long-rebuild",
            (Metric(f"rebuild a projection, {int(many):,} events"),),
            craton("rebuild", "--events", many),
            craton("rebuild", *events),
            f"itself, {int(events[1]):,}",
        ),
        Scenario(
            "rebuild-dead",
            (Metric("rebuild a projection, a tenth of the positions without an event"),),
            craton("rebuild", "--dead", *events),
            craton("rebuild", *events),
            "itself, without gaps",
            needs_postgres=True,
        ),
        Scenario(
            "hot",
            (Metric("transfer out of one account, 32 callers"),),
            craton(*hot),
            on_postgres(PEERS_PYTHON, str(PEERS / "fastapi_service.py"), *hot),
            "SQLAlchemy",
        ),
        Scenario(
            "saga",
            (Metric("saga of four steps that write, 64 at a time"),),
            craton("saga", "--callers", "64", "--sagas", "1000" if quick else "5000"),
            on_postgres(PEERS_PYTHON, str(PEERS / "dbos_peer.py"), "saga", "--sagas", "100" if quick else "200"),
            "DBOS",
        ),
        Scenario(
            "pace-of-sagas",
            percentiles("saga at 5 a second"),
            craton("saga-latency", "--rate", "5", *seconds),
            on_postgres(PEERS_PYTHON, str(PEERS / "dbos_peer.py"), "saga-latency", "--rate", "5", *seconds),
            "DBOS",
        ),
        Scenario(
            "drain",
            (Metric("react to an event that is there already, durably"),),
            craton("drain", "--events", "5000" if quick else "20000"),
            on_postgres(PEERS_PYTHON, str(PEERS / "procrastinate_peer.py"), "drain", "--events", "500"),
            "procrastinate",
        ),
        Scenario(
            "react",
            percentiles("reaction to an event is durable, at 50 a second"),
            craton("react", "--rate", "50", *seconds),
            on_postgres(PEERS_PYTHON, str(PEERS / "procrastinate_peer.py"), "react", "--rate", "50", *seconds),
            "procrastinate",
        ),
        *(
            Scenario(
                f"{what}-{peer}{'-workers' * bool(workers)}",
                (Metric(f"{title}{', two workers' * bool(workers)}"),),
                orders(side, what, *workers, *seconds),
                orders(peer, what, *seconds),
                name,
                needs_postgres=True,
                needs_go=peer in ("go", "gorm"),
            )
            for side, what, title in (
                ("alone", "place", "place an order, 32 connections; nobody drives checkouts"),
                ("market", "get", "get an order, 32 connections"),
            )
            for peer, name, workers in (
                ("orm", ORM, ()),
                ("raw", RAW, ()),
                ("gorm", GORM, ()),
                ("go", GO, ()),
                ("go", GO, ("--workers", "2")),
            )
        ),
        *(
            Scenario(
                f"user-{kind}{'-workers' * bool(workers)}",
                (Metric(f"read a user, {kind}, 32 connections{', two workers' * bool(workers)}"),),
                orders("alone", "user", *workers, *ours, *seconds),
                orders("gorm", "user", *theirs, *seconds),
                name,
                needs_postgres=True,
                needs_go=True,
            )
            for kind, ours, theirs, name in (
                ("cached", (), ("--redis", REDIS), f"{GORM} + Redis"),
                ("uncached", ("--uncached",), (), GORM),
            )
            for workers in ((), ("--workers", "2"))
        ),
        Scenario(
            "checkout",
            (Metric("a thousand orders with their whole checkouts, until all are confirmed"),),
            orders("market", "checkout"),
            orders("orm-checkout", "checkout"),
            f"{ORM} + procrastinate",
        ),
        Scenario(
            "pace-of-checkouts",
            percentiles("checkout at 5 a second until the order is confirmed"),
            orders("market", "pace", *seconds),
            None,
            "itself",
        ),
        Scenario(
            "checkout-services",
            (Metric("a thousand orders with their whole checkouts, over three services"),),
            orders("services", "checkout"),
            orders("market", "checkout"),
            "one process",
        ),
        *(
            Scenario(
                f"call-{callers}-{peer}",
                (Metric(f"query in another service, {callers} caller{'s' * (callers > 1)}"), *latencies),
                services("query", "--callers", str(callers), *seconds),
                calls(peer, "--callers", str(callers), *seconds),
                name,
            )
            for callers, latencies in ((1, percentiles("query in another service, 1 caller")), (32, ()))
            for peer, name in (("fastapi", "FastAPI + httpx"), ("grpc", "grpc.aio"), ("faststream", "FastStream, NATS"))
        ),
        Scenario(
            "call-durable",
            (Metric("command with a key in another service, durable, 32 callers"),),
            services("command", "--callers", "32", *seconds),
            calls("deposit", "--callers", "32", *seconds),
            f"{ORM} + httpx, without keys",
            needs_postgres=True,
        ),
        Scenario(
            "react-remote",
            percentiles("reaction of another service is durable, at 50 a second"),
            services("react", "--rate", "50", *seconds),
            on_postgres(PEERS_PYTHON, str(PEERS / "procrastinate_peer.py"), "react", "--rate", "50", *seconds),
            "procrastinate",
        ),
        Scenario(
            "feed-remote",
            (Metric("read the feed of another service"),),
            services("feed", *events),
            eventsourcing("feed", *events),
            "eventsourcing, in its process",
        ),
        Scenario(
            "reader-remote",
            (Metric("read model of another service's events, from the beginning"),),
            services("reader", *events),
            eventsourcing("rebuild", *few),
            "eventsourcing, in its process",
        ),
        Scenario(
            "reader-million",
            (Metric("read model of a million events of another service", "seconds", "seconds", " s"),),
            services("reader", "--events", "100000" if quick else "1000000"),
            None,
            "itself",
        ),
        Scenario(
            "takeover-remote",
            (Metric("replica killed until another reacts to another service's events", "seconds", "seconds", " s"),),
            services("takeover"),
            None,
            "itself",
            needs_postgres=True,
        ),
        Scenario(
            "http-random",
            (Metric("POST a transfer, 32 connections"),),
            craton_http(*seconds),
            fastapi_http(*seconds),
            "FastAPI",
        ),
        Scenario(
            "http-hot",
            (Metric("POST a transfer out of one account, 32 connections"),),
            craton_http("--hot", *seconds),
            fastapi_http("--hot", *seconds),
            "FastAPI",
        ),
    ]
