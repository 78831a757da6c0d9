"""The tables of a module's schema, and the function that appends a batch in one round trip."""

from typing import Final

from craton.adapters.layouts import LAYOUT
from craton.adapters.sql import names, quoted, unique_statements
from craton.ports import INLINE, Table
from craton.ports.records import ColumnType

# The payloads are text, not jsonb: what was hashed must stay as it was, to the byte. Cast with ::json to query them.
_PARKED_EVENTS: Final = """
CREATE TABLE {schema}.parked_events (
    subscription text NOT NULL, position bigint NOT NULL, key text NOT NULL, error text NOT NULL,
    attempts int NOT NULL, since timestamptz NOT NULL, operator_request text NOT NULL, event text NOT NULL,
    PRIMARY KEY (subscription, position)
);
"""

# Programs of layout 1 don't ask for the layout. They find a view in place of `checkpoints`, which they can't read.
# With an empty table their policies would react to all events once more.
_NO_CHECKPOINTS: Final = """
CREATE VIEW {schema}.checkpoints AS SELECT 'a newer version of Craton'::text AS belongs_to;
"""

_TABLES: Final = (
    """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE {schema}.events (
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
CREATE UNIQUE INDEX events_id ON {schema}.events (id COLLATE "C");
CREATE TABLE {schema}.snapshots (
    stream text COLLATE "C" PRIMARY KEY, version int NOT NULL, fingerprint text NOT NULL, state text NOT NULL
);
CREATE TABLE {schema}.results (
    scope text COLLATE "C", key text COLLATE "C", fingerprint text NOT NULL, outcome text NOT NULL,
    time timestamptz NOT NULL, position bigint NOT NULL, PRIMARY KEY (scope, key)
);
CREATE TABLE {schema}.readers (subscription text PRIMARY KEY, position bigint NOT NULL);
CREATE TABLE {schema}.documents (name text PRIMARY KEY, revision int NOT NULL, body text NOT NULL);
CREATE TABLE {schema}.lease_owners (
    name text PRIMARY KEY, owner text NOT NULL, fence bigint NOT NULL, expires timestamptz NOT NULL
);
CREATE TABLE {schema}.timers (
    id text PRIMARY KEY, due timestamptz NOT NULL, operation text NOT NULL, arguments text NOT NULL,
    metadata text NOT NULL, attempts int NOT NULL DEFAULT 0, failures int NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '', parked boolean NOT NULL DEFAULT false
);
-- Parked timers have an index of their own, so that many of them don't slow the others.
CREATE INDEX timers_waiting ON {schema}.timers (due, id) WHERE NOT parked;
CREATE INDEX timers_parked ON {schema}.timers (due, id) WHERE parked;
CREATE TABLE {schema}.layout (version int NOT NULL);
"""
    + _PARKED_EVENTS
    + _NO_CHECKPOINTS
)

# Columns that were added before layouts were counted: table, column, definition. ALTER TABLE is run only where one is
# missing, because it waits for every reader of the table.
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

# When a table's meaning changes, its name changes too: then a process of an older program that is still running fails
# at its next statement, and writes nothing wrong.
_UPGRADES: Final[dict[int, str]] = {
    1: """
CREATE UNIQUE INDEX IF NOT EXISTS events_id ON {schema}.events (id COLLATE "C");
CREATE INDEX IF NOT EXISTS timers_waiting ON {schema}.timers (due, id) WHERE NOT parked;
CREATE INDEX IF NOT EXISTS timers_parked ON {schema}.timers (due, id) WHERE parked;
ALTER TABLE {schema}.checkpoints RENAME TO readers;
ALTER TABLE {schema}.leases RENAME TO lease_owners;
ALTER TABLE {schema}.results ADD COLUMN time timestamptz NOT NULL DEFAULT now();
ALTER TABLE {schema}.results ALTER COLUMN time DROP DEFAULT;
"""
    + _PARKED_EVENTS
    + _NO_CHECKPOINTS
    + """
INSERT INTO {schema}.parked_events
SELECT p.subscription, p.position, p.key, p.error, p.attempts, p.since, p.wish, json_build_object(
    'stream', e.stream, 'version', e.version, 'id', e.id, 'type', e.type, 'schema_version', e.schema_version,
    'data', e.data, 'metadata', e.metadata, 'time', e.time, 'position', e.position, 'last', e.last
)::text FROM {schema}.parked p JOIN {schema}.events e ON e.position = p.position;
DROP TABLE {schema}.parked;
CREATE TABLE {schema}.layout (version int NOT NULL);
INSERT INTO {schema}.layout VALUES (2);
""",
}

# Every lock takes a place in the lock table of the whole server, its other databases included. So a transaction that
# would need more of them takes one that stands for all.
MAX_LOCKS: Final = 300

TAKEN: Final = "keys_taken"
"""The name by which the function below reports keys that were used before; DETAIL has their places in its arguments."""

# 1. The shared lock of the store. The feed proves by its holders that a missing position is dead. The set of live
#    inline projections is only changed under the same lock, taken alone: what is found here holds until the commit.
# 2. A lock for each stream, in one order, so that batches of two processes neither deadlock nor slip past a check.
#    For too many streams: the lock of the store, exclusively, and no other. It waits for all transactions that append,
#    and those that come later wait for it. No batch asks for it while it holds the lock shared, for all its streams are
#    counted before the first lock is taken; nor while it holds rows, which are locked later. (Only an interactive
#    transaction of several units may. Of two such that wait for each other Postgres ends one, which can be run again.)
# 3. Only then, in a statement (and so a snapshot) of its own, the check that each stream is where the batch expects it,
#    and the set of live inline projections the one that it was made for: `known` are the revisions of their document.
# 4. Keys that were used before are reported together, before anything is drawn or written.
# 5. Positions are drawn under a lock, so that those of a batch follow on each other and no unit is torn in the feed.
#    Held until the commit that lock would make all commits wait for each other. It is taken in a subtransaction that
#    ends by an error, which gives the lock back and keeps the numbers: so nothing can happen that leaves it held.
# The functions of older versions are dropped: their processes don't say where a unit ends, which inline projections
# they know, or when a result was given, and must not append any more.
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
DROP FUNCTION IF EXISTS {schema}.append(
    text[], int[], text[], int[], text[], text[], int[], text[], text[], timestamptz[],
    text[], int[], text[], text[], text[], text[], text[], text[], int[], boolean[], int[]
);
CREATE OR REPLACE FUNCTION {schema}.append(
    heads_stream text[], heads_version int[],
    e_stream text[], e_version int[], e_id text[], e_type text[], e_schema_version int[], e_data text[],
    e_metadata text[], e_time timestamptz[],
    s_stream text[], s_version int[], s_fingerprint text[], s_state text[],
    r_scope text[], r_key text[], r_fingerprint text[], r_outcome text[], r_time timestamptz[], r_last int[],
    e_last boolean[], known int[],
    OUT conflicts text[], OUT positions bigint[], OUT inline int
) LANGUAGE plpgsql AS $$
DECLARE
    taken text;
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
    IF cardinality(r_key) > 0 THEN
        SELECT string_agg(r.place::text, ' ') INTO taken
            FROM unnest(r_scope, r_key) WITH ORDINALITY AS r(scope, key, place)
            WHERE EXISTS (SELECT FROM {schema}.results k WHERE k.scope = r.scope AND k.key = r.key);
        IF taken IS NOT NULL THEN
            RAISE unique_violation USING TABLE = 'results', CONSTRAINT = '{taken}', DETAIL = taken;
        END IF;
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
        INSERT INTO {schema}.results (scope, key, fingerprint, outcome, time, position)
        SELECT r.scope, r.key, r.fingerprint, r.outcome, r.time, coalesce(positions[r.last], 0)
        FROM unnest(r_scope, r_key, r_fingerprint, r_outcome, r_time, r_last)
            AS r(scope, key, fingerprint, outcome, time, last);
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


def schema_statements(schema: str, lock: int, found: int) -> list[str]:
    """Create the schema, or upgrade tables of the layout `found` (0: none); `lock` is the key of the store's lock."""
    if found == 0:
        statements = [_TABLES.format(schema=schema), f"INSERT INTO {schema}.layout VALUES ({LAYOUT})"]
    else:
        statements = [_UPGRADES[version].format(schema=schema) for version in range(found, LAYOUT)]
    if found == 1:
        statements[:0] = [
            _ADD_COLUMN.format(schema=schema, table=table, column=column, definition=definition)
            for table, column, definition in _ADDED_COLUMNS
        ]
    return [*statements, _APPEND.format(schema=schema, lock=lock, inline=INLINE, max_locks=MAX_LOCKS, taken=TAKEN)]


def within(schema: str, table: Table) -> Table:
    """The table with its schema before its name."""
    return Table(f"{schema}.{table.name}", table.key, table.indexes)


def table_statements(table: Table, name: str, unless_there: str = "") -> list[str]:
    """Create the table of a read model, with its unique indexes; `name` is the table's name without the schema."""
    columns = ", ".join(f"{quoted(column.name)} {_TYPES[column.type]}" for column in table.columns)
    return [
        f"CREATE TABLE {unless_there}{table.name} ({columns}, row text NOT NULL, PRIMARY KEY ({names(table.key)}))",
        *unique_statements(table, name, unless_there),
    ]
