"""The benchmark's sagas on the PyPI package `dbos`: a workflow of four transactions, each of which writes a row.

Workflows are started from sixteen threads, which was its fastest way here. Postgres commits with the server's own
settings.
"""

from __future__ import annotations

import argparse
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit, urlunsplit

import psycopg
from dbos import DBOS, SQLAlchemyDatasource
from sqlalchemy import text

from stats import latency_report, print_report

THREADS = 16
DATABASE = "peer_dbos"


class Notes:
    """Where the rows go; there is one when the workflows run."""

    source: SQLAlchemyDatasource

    @classmethod
    def write(cls, errand: str, number: int) -> None:
        cls.source.run_tx_step({"isolation_level": "READ COMMITTED"}, cls._insert, errand, number)

    @classmethod
    def _insert(cls, errand: str, number: int) -> None:
        cls.source.sql_session().execute(
            text("INSERT INTO notes (errand, number) VALUES (:errand, :number)"), {"errand": errand, "number": number}
        )


@DBOS.workflow()
def run_errand(errand: str) -> None:
    for number in (1, 2, 3, 4):
        Notes.write(errand, number)


def with_database(url: str, name: str, scheme: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((scheme, parts.netloc, f"/{name}", "", ""))


def make_databases(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for name in (DATABASE, f"{DATABASE}_system"):
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name}")
    with psycopg.connect(with_database(url, DATABASE, "postgresql"), autocommit=True) as connection:
        connection.execute("CREATE TABLE notes (errand text, number int, PRIMARY KEY (errand, number))")


def drop_databases(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for name in (DATABASE, f"{DATABASE}_system"):
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def drain(count: int) -> dict[str, float]:
    """Run so many workflows as fast as may be."""
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(run_errand, (str(uuid.uuid4()) for _ in range(THREADS))))  # warm up
        began = time.perf_counter()
        list(threads.map(run_errand, (str(uuid.uuid4()) for _ in range(count))))
        took = time.perf_counter() - began
    return {"rate": round(count / took, 1)}


def at_rate(rate: float, seconds: float) -> dict[str, float]:
    """Begin workflows at fixed times; each is timed from when it was due."""
    latencies: list[float] = []
    lock = threading.Lock()
    run_errand(str(uuid.uuid4()))
    with ThreadPoolExecutor(THREADS) as threads:
        first = time.perf_counter()

        def one(due: float) -> None:
            run_errand(str(uuid.uuid4()))
            with lock:
                latencies.append(time.perf_counter() - due)

        for number in range(int(rate * seconds)):
            due = first + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            threads.submit(one, due)
    return latency_report(latencies)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", choices=("saga", "saga-latency"))
    parser.add_argument("--store", required=True)
    parser.add_argument("--sagas", type=int, default=200)
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    make_databases(options.store)
    DBOS(
        config={
            "name": "errands",
            "system_database_url": with_database(options.store, f"{DATABASE}_system", "postgresql+psycopg"),
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )
    Notes.source = SQLAlchemyDatasource.create(
        with_database(options.store, DATABASE, "postgresql"), engine_kwargs={"pool_size": THREADS}
    )
    DBOS.launch()
    try:
        if options.scenario == "saga":
            report = drain(options.sagas)
        else:
            report = at_rate(options.rate, options.seconds)
    finally:
        DBOS.destroy()
        drop_databases(options.store)
    print_report(report)


if __name__ == "__main__":
    main()
