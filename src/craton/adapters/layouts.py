"""The version of the toolkit's own tables. Both adapters go through the same versions, each in its own SQL.

1: made by programs that had no layout versions yet.
2: readers keep their progress and their parked events in their own module's store; results have a time.
"""

from typing import Final

import structlog

from craton.ports import StoreUnsuitable

LAYOUT: Final = 2

log = structlog.get_logger("craton.store")


def require_usable(store: str, found: int, *, upgrade: bool) -> None:
    """Raise `StoreUnsuitable` for tables of a later version of the toolkit, and for those of an earlier one unless they
    may be upgraded."""
    if found > LAYOUT:
        raise StoreUnsuitable(
            f"{store} belongs to a newer version of Craton: its tables have layout {found}, and this program knows "
            f"layout {LAYOUT}. Start the newer program; tables are never downgraded."
        )
    if 0 < found < LAYOUT and not upgrade:
        raise StoreUnsuitable(
            f"{store} belongs to an older version of Craton: its tables have layout {found}. Use the `craton` of that "
            f"version, or upgrade the tables to layout {LAYOUT} by starting the app with this one."
        )


def tell_upgraded(store: str, before: int) -> None:
    """Log that the tables were upgraded."""
    log.warning("the store's tables were upgraded", store=store, before=before, now=LAYOUT)
