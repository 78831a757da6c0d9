"""One schema in a Postgres database for each module. `pip install craton[postgres]`."""

from craton.adapters.postgres.database import PostgresDatabase
from craton.adapters.postgres.store import PostgresStore

__all__ = ["PostgresDatabase", "PostgresStore"]
