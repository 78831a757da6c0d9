"""What every `Store` must do, as test suites to subclass. An adapter that behaves differently is wrong.

A suite is a plain class with async test methods. They ask for two fixtures: `store`, an open store that holds nothing
yet, and `second_store`, another open client of the same data, as another process would have it.

    class TestWriting(Writing):
        @pytest.fixture
        async def store(self): ...

To have pytest explain failed assertions, call `pytest.register_assert_rewrite("craton.testing.conformance")` first.
"""

from craton.testing.conformance.bookkeeping import Checkpoints, Documents, IdempotencyResults, Timers
from craton.testing.conformance.feed import Feed, ManyWriters
from craton.testing.conformance.finding import Finding, Summing
from craton.testing.conformance.guards import Guards, Snapshots
from craton.testing.conformance.inline import InlineProjecting, LiveInlineProjections
from craton.testing.conformance.leases import Fencing, LeaseHolding
from craton.testing.conformance.looking import LookingAtTimersAndLeases, Searching
from craton.testing.conformance.malformed import EventIds, MalformedUnits
from craton.testing.conformance.own_tables import (
    OwnAnswers,
    OwnCrowds,
    OwnStatements,
    OwnTransactions,
    OwnValues,
)
from craton.testing.conformance.parking import ParkedEvents
from craton.testing.conformance.refusing import UnfitReads, UnfitValues
from craton.testing.conformance.tables import MakingTables, RowWriting, UniqueColumns
from craton.testing.conformance.transactions import InteractiveTransactions, Statements
from craton.testing.conformance.writing import Appending, Batches

SUITES = (
    Appending,
    Batches,
    Guards,
    Snapshots,
    IdempotencyResults,
    Checkpoints,
    Documents,
    Timers,
    ParkedEvents,
    Searching,
    LookingAtTimersAndLeases,
    RowWriting,
    MakingTables,
    UniqueColumns,
    Finding,
    Summing,
    InlineProjecting,
    LiveInlineProjections,
    LeaseHolding,
    Fencing,
    Statements,
    InteractiveTransactions,
    Feed,
    ManyWriters,
    MalformedUnits,
    EventIds,
    UnfitValues,
    UnfitReads,
)
OWN_TABLES = (OwnStatements, OwnValues, OwnAnswers, OwnTransactions, OwnCrowds)
"""What a store of a module's own tables must do, wherever everything else is kept."""

__all__ = [
    "OWN_TABLES",
    "SUITES",
    "Appending",
    "Batches",
    "Checkpoints",
    "Documents",
    "EventIds",
    "Feed",
    "Fencing",
    "Finding",
    "Guards",
    "IdempotencyResults",
    "InlineProjecting",
    "InteractiveTransactions",
    "LeaseHolding",
    "LiveInlineProjections",
    "LookingAtTimersAndLeases",
    "MakingTables",
    "MalformedUnits",
    "ManyWriters",
    "OwnAnswers",
    "OwnCrowds",
    "OwnStatements",
    "OwnTransactions",
    "OwnValues",
    "ParkedEvents",
    "RowWriting",
    "Searching",
    "Snapshots",
    "Statements",
    "Summing",
    "Timers",
    "UnfitReads",
    "UnfitValues",
    "UniqueColumns",
]
