"""An upper bound for appends on Postgres: the rows alone, batched, with no program around them.

A statement inserts an event for each stream of a batch and writes each stream's row of state, and commits. Nothing is
loaded, checked or decided.
"""

import argparse
import asyncio
import random
import time
from datetime import UTC, datetime
from typing import Any

import asyncpg

from benchmarks.http_load import new_event_loop
from benchmarks.peers.stats import print_report
from benchmarks.postgres import drop_schemas, unique_name

STREAMS = 1_000
STATE = '{"owner":"owner","currency":"EUR","balance":1}'
METADATA = '{"correlation":"01890000-0000-7000-8000-000000000000","causation":"01890000-0000-7000-8000-000000000000"}'

TABLES = """
CREATE SCHEMA {schema};
CREATE TABLE {schema}.events (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream text COLLATE "C" NOT NULL, version int NOT NULL,
    id text NOT NULL, type text NOT NULL, data text NOT NULL, metadata text NOT NULL, time timestamptz NOT NULL,
    UNIQUE (stream, version)
);
CREATE TABLE {schema}.states (stream text COLLATE "C" PRIMARY KEY, version int NOT NULL, state text NOT NULL);
"""

APPEND = """
WITH given AS (
    SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::timestamptz[]) AS g(stream, version, id, time)
), appended AS (
    INSERT INTO {schema}.events (stream, version, id, type, data, metadata, time)
    SELECT stream, version, id, 'Deposited', '{{"amount":1}}', $5::text, time FROM given
)
INSERT INTO {schema}.states AS s SELECT stream, version, $6::text FROM given ORDER BY stream
ON CONFLICT (stream) DO UPDATE SET version = excluded.version, state = excluded.state
"""


async def append_until(connection: Any, schema: str, first: int, own: int, batch: int, deadline: float) -> int:
    """Append batch after batch to `own` streams that no other connection writes to; return how many events."""
    append = await connection.prepare(APPEND.format(schema=schema))
    versions = dict.fromkeys((f"account-{number:036}" for number in range(first, first + own)), 0)
    streams = list(versions)
    written = 0
    while True:
        chosen = random.sample(streams, batch)
        for stream in chosen:
            versions[stream] += 1
        numbers = [versions[stream] for stream in chosen]
        ids = [f"{stream[-20:]}-{number:015}" for stream, number in zip(chosen, numbers, strict=True)]
        await append.fetch(chosen, numbers, ids, [datetime.now(UTC)] * batch, METADATA, STATE)
        if time.perf_counter() > deadline:
            return written
        written += batch


async def run(options: argparse.Namespace) -> None:
    schema = unique_name()
    connections = [await asyncpg.connect(options.store) for _ in range(options.connections)]
    try:
        await connections[0].execute(TABLES.format(schema=schema))
        deadline = time.perf_counter() + options.seconds
        own = STREAMS // len(connections)
        written = await asyncio.gather(
            *(
                append_until(connection, schema, place * own, own, options.batch, deadline)
                for place, connection in enumerate(connections)
            )
        )
    finally:
        for connection in connections:
            await connection.close()
        await drop_schemas(options.store, schema)
    print_report({"rate": round(sum(written) / options.seconds, 1)})


def main() -> None:
    parser = argparse.ArgumentParser(description="Insert batched rows, as fast as Postgres takes them.")
    parser.add_argument("--store", required=True, help="postgresql://user@host:port/db")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
