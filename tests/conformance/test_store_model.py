"""A store against a model: whatever is written in whatever order, what is read is what the model says."""

import asyncio
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from craton.adapters.sqlite import SqliteStore
from craton.ports import Append, Changeset, ChangesetRefused, StoredResult, VersionConflict
from craton.testing.conformance.making import NOON, event

STREAMS = st.sampled_from(["a", "b", "c"])
KEYS = st.sampled_from(["k1", "k2", "k3"])
COUNTS = st.integers(0, 3)
OFF_BY = st.sampled_from([0, 0, 0, -1, 1])


class StoreAgainstModel(RuleBasedStateMachine):
    """The model: the ids of each stream, of the whole log, where its units end, and who was first to use a key."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._folder = tempfile.TemporaryDirectory()
        self.streams: defaultdict[str, list[str]] = defaultdict(list)
        self.log: list[str] = []
        self.ends: list[int] = []
        self.results: dict[str, str] = {}

    @initialize()
    def open(self) -> None:
        self.store = self._new_client()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self._run(self.store.close())
        self._loop.close()
        self._folder.cleanup()

    @rule(stream=STREAMS, count=COUNTS, off_by=OFF_BY)
    def append(self, stream: str, count: int, off_by: int) -> None:
        self._write([self._unit([(stream, count, off_by)])])

    @rule(first=STREAMS, second=STREAMS, count=COUNTS, off_by=OFF_BY)
    def append_guarded(self, first: str, second: str, count: int, off_by: int) -> None:
        unit = self._unit([(first, count, 0)])
        if second != first:
            unit.guards = [(second, max(0, len(self.streams[second]) + off_by))]
        self._write([unit])

    @rule(parts=st.lists(st.tuples(STREAMS, COUNTS, OFF_BY), min_size=2, max_size=6), key=KEYS)
    def batch(self, parts: list[tuple[str, int, int]], key: str) -> None:
        """Units that build on each other as far as none before them was refused."""
        ahead: defaultdict[str, int] = defaultdict(int)
        units = []
        for stream, count, off_by in parts:
            units.append(self._unit([(stream, count, ahead[stream] + off_by)]))
            ahead[stream] += count
        units[-1].result = StoredResult("scope", key, "f", units[-1].appends[0].stream, NOON)
        self._write(units)

    @rule(stream=STREAMS, key=KEYS)
    def append_once(self, stream: str, key: str) -> None:
        unit = self._unit([(stream, 1, 0)])
        unit.result = StoredResult("scope", key, "f", stream, NOON)
        self._write([unit])

    @rule(parts=st.lists(st.tuples(STREAMS, COUNTS, OFF_BY), min_size=2, max_size=3, unique_by=lambda part: part[0]))
    def append_to_several(self, parts: list[tuple[str, int, int]]) -> None:
        self._write([self._unit(parts)])

    @rule()
    def reopen(self) -> None:
        self._run(self.store.close())
        self.store = self._new_client()

    @rule(after=st.integers(0, 10), limit=st.integers(1, 4))
    def read_a_page(self, after: int, limit: int) -> None:
        page = self._run(self.store.read_feed(after, limit))

        ends = [end for end in self.ends if end > after]
        to = max([end for end in ends if end <= after + limit] or ends[:1], default=after)
        assert [event.id for event in page.events] == self.log[after:to]
        assert [event.position for event in page.events if event.last] == [end for end in ends if end <= to]
        assert page.position == (page.events[-1].position if page.events else after)

    @rule(stream=STREAMS, after=st.integers(0, 6), limit=st.integers(1, 4), descending=st.booleans())
    def read_part_of_a_stream(self, stream: str, after: int, limit: int, descending: bool) -> None:
        read = self._run(self.store.read_stream(stream, after=after, limit=limit, descending=descending))

        ids = self.streams[stream]
        expected = (ids[: after - 1] if after else ids)[::-1] if descending else ids[after:]
        assert [event.id for event in read] == expected[:limit]

    @invariant()
    def what_is_read_is_what_the_model_says(self) -> None:
        if not hasattr(self, "store"):
            return
        names = ["a", "b", "c"]
        for name, state in zip(names, self._run(self.store.load([(name, "f") for name in names])), strict=True):
            assert [event.id for event in state.events] == self.streams[name]
            assert [event.version for event in state.events] == list(range(1, len(state.events) + 1))
        assert self._run(self.store.head()) == len(self.log)
        for key in ("k1", "k2", "k3"):
            found = self._run(self.store.find_result("scope", key))
            assert (found and found.outcome) == self.results.get(key)

    def _new_client(self) -> SqliteStore:
        store = SqliteStore(Path(self._folder.name) / "model.db", durable=False)
        self._run(store.open())
        return store

    def _run(self, work: Any) -> Any:
        return self._loop.run_until_complete(work)

    def _unit(self, parts: list[tuple[str, int, int]]) -> Changeset:
        appends = []
        for stream, count, off_by in parts:
            expected = max(0, len(self.streams[stream]) + off_by)
            appends.append(Append(stream, expected, [event(stream, expected + n) for n in range(1, count + 1)]))
        return Changeset(appends=appends)

    def _write(self, units: list[Changeset]) -> None:
        outcomes = self._run(self.store.write(units))

        refused: set[str] = set()
        for unit, outcome in zip(units, outcomes, strict=True):
            stale = sorted(refused & unit.streams)
            stale += [append.stream for append in unit.appends if append.expected != len(self.streams[append.stream])]
            stale += [stream for stream, version in unit.guards if version != len(self.streams[stream])]
            taken = unit.result is not None and unit.result.key in self.results
            assert isinstance(outcome, ChangesetRefused) == bool(stale or taken)
            if stale:
                assert isinstance(outcome, VersionConflict)
                assert outcome.stream in stale
            if stale or taken:
                refused |= unit.streams
                continue
            count = len(self.log)
            for append in unit.appends:
                self.streams[append.stream] += [event.id for event in append.events]
                self.log += [event.id for event in append.events]
            assert outcome == (len(self.log) if len(self.log) > count else 0)
            if outcome:
                self.ends.append(len(self.log))
            if unit.result is not None:
                self.results[unit.result.key] = unit.result.outcome


TestStoreAgainstModel = StoreAgainstModel.TestCase
TestStoreAgainstModel.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
