"""The settings that a store needs from its Postgres server: each connection requests and checks them.

The defaults of a server, a database or a role must not change the meaning of a statement. So each session sets what it
relies on. Only `default_transaction_read_only` is left alone, because operators, and some hosting services whose disks
are nearly full, use it to protect a database.
"""

import contextlib
import socket
from typing import Any, Final

import structlog

from craton.ports import StoreUnsuitable

OLDEST_VERSION: Final = 14
CHECK_SECONDS: Final = 5.0
SESSION: Final = {
    "application_name": "craton",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "synchronous_commit": "on",
    "idle_in_transaction_session_timeout": "5000",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "search_path": "public",
    "row_security": "off",
    "standard_conforming_strings": "on",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "jit": "off",
}
"""`row_security` off: a policy that would hide rows from the store causes an error instead of a gap in its log."""

# When a network drops a connection, neither side is told. These make the kernel notice within about ten seconds.
_KEEP_ALIVE: Final = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 2),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 5_000),
)
_LOOK: Final = (
    "SELECT current_setting('server_version_num')::int / 10000 AS version, pg_is_in_recovery() AS standby,"
    " current_setting('server_encoding') AS encoding, current_setting('transaction_isolation') AS isolation,"
    " current_setting('synchronous_commit') AS durability"
)
_RISKS: Final = "SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'"

log = structlog.get_logger("craton.postgres")


def keep_alive(connection: Any) -> None:
    """Have the kernel check a connection regularly, as far as this platform supports it."""
    found = connection._transport.get_extra_info("socket")
    if found is None or found.family not in (socket.AF_INET, socket.AF_INET6):
        return
    for level, name, value in _KEEP_ALIVE:
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):
                found.setsockopt(level, option, value)


async def require_suitable(connection: Any) -> None:
    """Raise `StoreUnsuitable` unless a store can rely on this server."""
    server = await connection.fetchrow(_LOOK, timeout=CHECK_SECONDS)
    if server["version"] < OLDEST_VERSION:
        raise StoreUnsuitable(
            f"Postgres {server['version']} is too old for a store: upgrade it to version {OLDEST_VERSION} or newer."
        )
    if server["encoding"] != "UTF8":
        raise StoreUnsuitable(
            f"The database holds text as {server['encoding']}, but a store needs UTF8: "
            "make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0."
        )
    if server["standby"]:
        raise StoreUnsuitable("The Postgres server is a standby, which can't be written to: name the primary.")
    if server["isolation"] != "read committed" or server["durability"] not in ("on", "remote_write", "remote_apply"):
        raise StoreUnsuitable(
            f"Postgres runs the session with isolation {server['isolation']} and synchronous_commit "
            f"{server['durability']} instead of what was asked for: connect to the server itself, or through a pooler "
            "that keeps a session's settings."
        )


async def warn_of_risks(connection: Any) -> None:
    """Log settings with which the server may lose commits when its machine fails."""
    for row in await connection.fetch(_RISKS, timeout=CHECK_SECONDS):
        log.warning("a setting of Postgres may cost data when its machine fails", setting=f"{row['name']} = off")
