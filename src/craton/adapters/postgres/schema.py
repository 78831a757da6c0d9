"""The tables of a module's schema, and the function that appends a batch in one round trip."""

from typing import Final

from craton.adapters.sql import names, quoted, unique_statements
from craton.ports import INLINE, Table
from craton.ports.records import ColumnType

# The payloads are text, not jsonb: what was hashed must stay as it was, to the byte. Cast with ::json to query them.
_TABLES: Final = """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {schema}.events (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream text COLLATE "C" NOT NULL,
    version int NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    schema_version int NOT NULL,
    data text NOT NULL,
    metadata text NOT NULL,
    time timestamptz NOT NULL,
    last boolean NOT NULL DEFAULT true,
    UNIQUE (stream, version)
);
CREATE UNIQUE INDEX IF NOT EXISTS events_id ON {schema}.events (id COLLATE "C");
CREATE TABLE IF NOT EXISTS {schema}.snapshots (
    stream text COLLATE "C" PRIMARY KEY, version int NOT NULL, fingerprint text NOT NULL, state text NOT NULL
);
CREATE TABLE IF NOT EXISTS {schema}.results (
    scope text COLLATE "C", key text COLLATE "C", fingerprint text NOT NULL, outcome text NOT NULL,
    position bigint NOT NULL, PRIMARY KEY (scope, key)
);
CREATE TABLE IF NOT EXISTS {schema}.checkpoints (subscription text PRIMARY KEY, position bigint NOT NULL);
CREATE TABLE IF NOT EXISTS {schema}.documents (name text PRIMARY KEY, revision int NOT NULL, body text NOT NULL);
CREATE TABLE IF NOT EXISTS {schema}.leases (
    name text PRIMARY KEY, owner text NOT NULL, fence bigint NOT NULL, expires timestamptz NOT NULL
);
CREATE TABLE IF NOT EXISTS {schema}.timers (
    id text PRIMARY KEY, due timestamptz NOT NULL, operation text NOT NULL, arguments text NOT NULL,
    metadata text NOT NULL, attempts int NOT NULL DEFAULT 0, failures int NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '', parked boolean NOT NULL DEFAULT false
);
CREATE TABLE IF NOT EXISTS {schema}.parked (
    subscription text NOT NULL, position bigint NOT NULL, key text NOT NULL, error text NOT NULL,
    attempts int NOT NULL, since timestamptz NOT NULL, wish text NOT NULL, PRIMARY KEY (subscription, position)
);
"""

# Columns that a later version of the toolkit added: table, column, definition. A store made before gets them when it is
# opened; ALTER TABLE is run only where one is missing, because it waits for every reader of the table.
_ADDED_COLUMNS: Final = (
    ("timers", "attempts", "int NOT NULL DEFAULT 0"),
    ("timers", "failures", "int NOT NULL DEFAULT 0"),
    ("timers", "error", "text NOT NULL DEFAULT ''"),
    ("timers", "parked", "boolean NOT NULL DEFAULT false"),
    ("events", "last", "boolean NOT NULL DEFAULT true"),
)
_ADD_COLUMN: Final = """
DO $$ BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = '{schema}.{table}'::regclass AND attname = '{column}'
    ) THEN
        ALTER TABLE {schema}.{table} ADD COLUMN {column} {definition};
    END IF;
END $$;
"""

# Indexes over added columns. Parked timers have one of their own, so that many of them don't slow the others.
_INDEXES: Final = """
CREATE INDEX IF NOT EXISTS timers_waiting ON {schema}.timers (due, id) WHERE NOT parked;
CREATE INDEX IF NOT EXISTS timers_parked ON {schema}.timers (due, id) WHERE parked;
"""

# Every lock takes a place in the lock table of the whole server, its other databases included. So a transaction that
# would need more of them takes one that stands for all.
MAX_LOCKS: Final = 300

# 1. The shared lock of the store. The feed proves by its holders that a missing position is dead. The set of live
#    inline projections is only changed under the same lock, taken alone: what is found here holds until the commit.
# 2. A lock for each stream, in one order, so that batches of two processes neither deadlock nor slip past a check.
#    For too many streams: the lock of the store, exclusively, and no other. It waits for all transactions that append,
#    and those that come later wait for it. No batch asks for it while it holds the lock shared, for all its streams are
#    counted before the first lock is taken; nor while it holds rows, which are locked later. (Only an interactive
#    transaction of several units may. Of two such that wait for each other Postgres ends one, which can be run again.)
# 3. Only then, in a statement (and so a snapshot) of its own, the check that each stream is where the batch expects it,
#    and the set of live inline projections the one that it was made for: `known` are the revisions of their document.
# 4. Positions are drawn under a lock, so that those of a batch follow on each other and no unit is torn in the feed.
#    Held until the commit that lock would make all commits wait for each other. It is taken in a subtransaction that
#    ends by an error, which gives the lock back and keeps the numbers: so nothing can happen that leaves it held.
# The function of an older version is dropped: its processes neither say where a unit ends nor which inline projections
# they know, and must not append any more.
_APPEND: Final = """
CREATE OR REPLACE FUNCTION {schema}.lock_streams(streams text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('craton.alone_in', true) = '{schema}' THEN
        RETURN;
    END IF;
    IF cardinality(streams) > {max_locks} THEN
        PERFORM pg_advisory_xact_lock({lock}), set_config('craton.alone_in', '{schema}', true);
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock_shared({lock});
    PERFORM pg_advisory_xact_lock(k) FROM (
        SELECT DISTINCT hashtextextended('{schema}/' || stream, 1) AS k FROM unnest(streams) stream ORDER BY 1
    ) AS locks;
END $$;
-- Names of rows: as with streams, there is a lock for each, or one for `every`.
CREATE OR REPLACE FUNCTION {schema}.lock_rows(names text[], every boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF every THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('{schema}/', 3));
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('{schema}/', 3));
    PERFORM pg_advisory_xact_lock(k) FROM (
        SELECT DISTINCT hashtextextended('{schema}/' || name, 2) AS k FROM unnest(names) name ORDER BY 1
    ) AS locks;
END $$;
DROP FUNCTION IF EXISTS {schema}.append(
    text[], int[], text[], int[], text[], text[], int[], text[], text[], timestamptz[],
    text[], int[], text[], text[], text[], text[], text[], text[], int[]
);
CREATE OR REPLACE FUNCTION {schema}.append(
    heads_stream text[], heads_version int[],
    e_stream text[], e_version int[], e_id text[], e_type text[], e_schema_version int[], e_data text[],
    e_metadata text[], e_time timestamptz[],
    s_stream text[], s_version int[], s_fingerprint text[], s_state text[],
    r_scope text[], r_key text[], r_fingerprint text[], r_outcome text[], r_last int[],
    e_last boolean[], known int[],
    OUT conflicts text[], OUT positions bigint[], OUT inline int
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.lock_streams(heads_stream);
    SELECT array_agg(head.stream), (SELECT d.revision FROM {schema}.documents d WHERE d.name = '{inline}')
        INTO conflicts, inline FROM unnest(heads_stream, heads_version) AS head(stream, version)
        WHERE head.version <> coalesce((
            SELECT e.version FROM {schema}.events e WHERE e.stream = head.stream ORDER BY e.version DESC LIMIT 1
        ), 0);
    inline := coalesce(inline, 0);
    IF conflicts IS NOT NULL OR inline <> ANY (known) THEN
        RETURN;
    END IF;
    IF cardinality(e_stream) > 0 THEN
        BEGIN
            PERFORM pg_advisory_xact_lock(hashtextextended('{schema}', 4));
            positions := ARRAY(
                SELECT nextval('{schema}.events_position_seq') FROM generate_series(1, cardinality(e_stream))
            );
            RAISE SQLSTATE 'DRAWN';
        EXCEPTION WHEN SQLSTATE 'DRAWN' THEN
        END;
        INSERT INTO {schema}.events (position, stream, version, id, type, schema_version, data, metadata, time, last)
        OVERRIDING SYSTEM VALUE
        SELECT position, stream, version, id, type, schema_version, data, metadata, time, last
        FROM unnest(
            positions, e_stream, e_version, e_id, e_type, e_schema_version, e_data, e_metadata, e_time, e_last
        ) AS e(position, stream, version, id, type, schema_version, data, metadata, time, last);
    END IF;
    IF cardinality(s_stream) > 0 THEN
        INSERT INTO {schema}.snapshots AS s (stream, version, fingerprint, state)
        SELECT * FROM unnest(s_stream, s_version, s_fingerprint, s_state)
        ON CONFLICT (stream) DO UPDATE SET version = excluded.version, fingerprint = excluded.fingerprint,
            state = excluded.state WHERE excluded.version > s.version;
    END IF;
    IF cardinality(r_key) > 0 THEN
        INSERT INTO {schema}.results (scope, key, fingerprint, outcome, position)
        SELECT r.scope, r.key, r.fingerprint, r.outcome, coalesce(positions[r.last], 0)
        FROM unnest(r_scope, r_key, r_fingerprint, r_outcome, r_last) AS r(scope, key, fingerprint, outcome, last);
    END IF;
END $$;
"""

_TYPES: Final[dict[ColumnType, str]] = {
    "text": 'text COLLATE "C"',
    "integer": "bigint",
    "real": "double precision",
    "boolean": "boolean",
    "time": "timestamptz",
}
ARRAY_TYPES: Final[dict[ColumnType, str]] = {
    "text": "text[]",
    "integer": "bigint[]",
    "real": "double precision[]",
    "boolean": "boolean[]",
    "time": "timestamptz[]",
}


def schema_statements(schema: str, lock: int) -> tuple[str, ...]:
    """Make the schema, or bring it up to date; `lock` is the key of the store's advisory lock."""
    added = (
        _ADD_COLUMN.format(schema=schema, table=table, column=column, definition=definition)
        for table, column, definition in _ADDED_COLUMNS
    )
    return (
        _TABLES.format(schema=schema),
        *added,
        _INDEXES.format(schema=schema),
        _APPEND.format(schema=schema, lock=lock, inline=INLINE, max_locks=MAX_LOCKS),
    )


def within(schema: str, table: Table) -> Table:
    """The table with its schema before its name."""
    return Table(f"{schema}.{table.name}", table.key, table.indexes)


def table_statements(table: Table, name: str, unless_there: str = "") -> list[str]:
    """Make the table of a read model, with what makes its columns unique; `name` is its own without the schema."""
    columns = ", ".join(f"{quoted(column.name)} {_TYPES[column.type]}" for column in table.columns)
    return [
        f"CREATE TABLE {unless_there}{table.name} ({columns}, row text NOT NULL, PRIMARY KEY ({names(table.key)}))",
        *unique_statements(table, name, unless_there),
    ]
