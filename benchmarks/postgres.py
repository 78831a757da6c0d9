"""Postgres for the benchmarks: names for schemas of one run, and their removal."""

import uuid

import asyncpg


def is_postgres(url: str) -> bool:
    return url.startswith(("postgresql://", "postgres://"))


def unique_name() -> str:
    return f"bench_{uuid.uuid4().hex[:12]}"


async def drop_schemas(url: str, *prefixes: str) -> None:
    """Remove the schemas whose names begin with one of the prefixes."""
    connection = await asyncpg.connect(url)
    try:
        for prefix in prefixes:
            for row in await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname ^@ $1", prefix):
                await connection.execute(f'DROP SCHEMA "{row["nspname"]}" CASCADE')
    finally:
        await connection.close()
