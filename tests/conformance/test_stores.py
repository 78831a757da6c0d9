"""The conformance suites over both stores (the `store` fixtures are in `tests/conftest.py`)."""

from craton.testing import conformance


class TestAppending(conformance.Appending):
    pass


class TestBatches(conformance.Batches):
    pass


class TestGuards(conformance.Guards):
    pass


class TestSnapshots(conformance.Snapshots):
    pass


class TestIdempotencyResults(conformance.IdempotencyResults):
    pass


class TestCheckpoints(conformance.Checkpoints):
    pass


class TestDocuments(conformance.Documents):
    pass


class TestTimers(conformance.Timers):
    pass


class TestParkedEvents(conformance.ParkedEvents):
    pass


class TestRowWriting(conformance.RowWriting):
    pass


class TestUniqueColumns(conformance.UniqueColumns):
    pass


class TestFinding(conformance.Finding):
    pass


class TestSumming(conformance.Summing):
    pass


class TestInlineProjecting(conformance.InlineProjecting):
    pass


class TestLeaseHolding(conformance.LeaseHolding):
    pass


class TestFencing(conformance.Fencing):
    pass


class TestStatements(conformance.Statements):
    pass


class TestInteractiveTransactions(conformance.InteractiveTransactions):
    pass


class TestFeed(conformance.Feed):
    pass


class TestManyWriters(conformance.ManyWriters):
    pass


def test_every_suite_is_run_here() -> None:
    run = {base for test in globals().values() if isinstance(test, type) for base in test.__bases__}

    assert run >= set(conformance.SUITES)
