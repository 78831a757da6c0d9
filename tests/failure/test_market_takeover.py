"""Two markets on one Postgres: the one that drives the checkouts is killed, and the other finishes them all by itself.

`CRATON_TAKEOVER_CHECKOUTS=1000` says how many there are, `CRATON_CRASH_TABLE=1` shows how long it took.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from craton.testing.crash import drive, repeat
from tests.crash.conftest import verify
from tests.crash.databases import run_sql
from tests.crash.logs import failures_in
from tests.crash.market_shop import MARKET, POOR, VISA, Market, MarketDay, MarketLogs, Wish, balanced
from tests.failure.conftest import ROOT

CHECKOUTS: Final = int(os.environ.get("CRATON_TAKEOVER_CHECKOUTS", "150"))
CLIENTS: Final = 32
PATIENCE_SECONDS: Final = 600
"""More than all of it takes: no payment is given up for being late."""
LEASES: Final = ("ordering", "payments", "inventory", "ledger", "shipping", "notifications")
WISHES: Final = (
    Wish(VISA),
    Wish("wallet", ("apple", "pear")),
    Wish("pm_card_timeout", ("pear",)),
    Wish("pm_card_declined", reasons=("The payment has failed: card_declined.",)),
    Wish(VISA, ("rare",)),
    Wish("wallet", buyer=POOR, reasons=("The payment has failed: insufficient-funds.",)),
)


@pytest.fixture
def two_markets(database: str, tmp_path: Path) -> Iterator[tuple[Market, Market]]:
    """Two markets on one Postgres. The first has all the leases."""
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(Market(data=tmp_path, store=database, folder=ROOT, patience=PATIENCE_SECONDS))
            for _ in range(2)
        )
        yield first, second


def drivers(database: str) -> set[int]:
    """The processes that own subscriptions, sagas and timers in any of the modules."""
    owners = " UNION ".join(f"SELECT owner FROM market_{module}.lease_owners" for module in LEASES)
    return {int(row["owner"].split("/")[1]) for row in run_sql(database, owners)}


def test_when_the_one_that_drives_the_checkouts_is_killed_the_other_finishes_them_all(
    two_markets: tuple[Market, Market], database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owner, heir = two_markets
    day = MarketDay(CHECKOUTS, WISHES, pause=0)
    day.open(owner)
    heir.token = owner.token
    assert owner.pid in drivers(database)  # on a busy machine a lease may have passed to the other already

    began = time.monotonic()
    day.sent += drive(owner, day.scripts(owner, CLIENTS), until=lambda: day.all_drawn)
    owner.kill()
    killed_at = time.monotonic()
    with MarketLogs(database, tmp_path) as logs:
        in_flight = logs.books(heir.mails).in_flight
    killed_ago = time.monotonic() - killed_at
    repeat(heir, day.sent)
    books = balanced(heir)
    took = killed_ago + books.waited

    assert all(entry.reply is not None and entry.reply.status == 202 for entry in day.sent)
    assert books.orders.keys() == day.placed.keys()
    assert len(books.orders) == CHECKOUTS
    assert in_flight > CHECKOUTS // 10
    assert day.wrong_endings(books.orders, outage=False) == {}
    assert books.takings() == books.due() > 0
    assert drivers(database) == {heir.pid}
    assert heir.stop() == 0
    assert failures_in(heir.log) == []
    code, said = verify(tmp_path, database, MARKET)
    assert code == 0, said
    if os.environ.get("CRATON_CRASH_TABLE") == "1":
        with capsys.disabled():
            print(
                f"\n{CHECKOUTS} checkouts placed in {killed_at - began:.1f} s, {in_flight} of them in flight at the "
                f"kill; {took:.1f} s later the last one had ended, with its parcel and its letters"
            )
