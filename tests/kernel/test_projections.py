"""Read models: in step with the log, built anew beside the live one, and never half-built before anyone's eyes."""

import asyncio
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace

from craton.application import Context, Index, Key, MisuseError, Projection, Row, Rows, Unavailable
from craton.application.projection import ProjectionDefinition
from craton.application.rows import RowDefinition
from craton.application.upcasting import EventTypes
from craton.domain import Recorded, Value
from craton.ports import (
    Changeset,
    DocumentChanged,
    NewEvent,
    RowPut,
    Statement,
    StatementFailed,
    Store,
    StoredEvent,
    StoredRow,
)
from craton.runtime import App
from craton.runtime.projections.generations import GenerationRecord, Generations, LiveInline
from craton.runtime.projections.handler import ProjectionHandler
from craton.runtime.subscriptions.feed import EventPage
from craton.testing import until
from craton.testing.conformance.making import NOON, appending, write
from tests.conftest import Place
from tests.kernel.bank import (
    AccountId,
    AccountOpened,
    BalanceRow,
    Balances,
    Bank,
    MoneyDeposited,
    MoneyWithdrawn,
    Owners,
    ask,
    bank,
    reached,
)
from tests.kernel.conftest import StartApp
from tests.parking import ask as ask_for


@pytest.fixture
async def app(start: StartApp) -> App:
    return await start(bank(), subscriptions=True)


@pytest.fixture
async def account(api: Bank) -> AccountId:
    return await api.open("Ann", "ann@example.org")


async def _head(app: App) -> int:
    return await app.running["bank"].store.head()


async def _balance(app: App, account: AccountId) -> int | None:
    """The balance that the view shows once it has got to the end of the log."""
    balance: int | None = (await ask(app, Bank.balance, account, context=reached(await _head(app)))).result
    return balance


async def _swapped(app: App, name: str, generation: int) -> None:
    async def live() -> bool:
        return (await app.running["bank"].projections[name].progress()).live == generation

    await until(live)


class TestAnAsyncProjection:
    async def test_is_waited_for_up_to_a_position(self, app: App, api: Bank, account: AccountId) -> None:
        for amount in range(1, 6):
            answer = await ask(app, Bank.deposit, account, amount)

            seen = await ask(app, Bank.balance, account, context=reached(answer.position))

            assert seen.result == amount * (amount + 1) // 2

    @pytest.mark.parametrize("subscriptions", [False, True], ids=["a reader", "one that would take over"])
    async def test_is_waited_for_in_another_process_too(
        self, app: App, start: StartApp, api: Bank, account: AccountId, subscriptions: bool
    ) -> None:
        reader = await start(bank(), subscriptions=subscriptions)
        answer = await ask(app, Bank.deposit, account, 7)

        assert (await ask(reader, Bank.balance, account, context=reached(answer.position))).result == 7

    async def test_handles_each_event_once_although_several_processes_try(
        self, app: App, start: StartApp, api: Bank, account: AccountId
    ) -> None:
        others = [await start(bank(), subscriptions=True) for _ in range(2)]

        await asyncio.gather(*(one.api(Bank).deposit(account, 1) for one in (app, *others) for _ in range(20)))

        assert await _balance(others[1], account) == 60

    async def test_goes_on_in_another_process_when_the_owner_stops(self, start: StartApp, place: Place) -> None:
        first = App("test", modules=[bank()])
        async with first.run(place):
            account = await first.api(Bank).open("Ann", "ann@example.org")
            second = await start(bank(), subscriptions=True)
            await first.api(Bank).deposit(account, 1)

        await second.api(Bank).deposit(account, 1)

        assert await _balance(second, account) == 2

    async def test_parts_of_texts_are_found_upper_and_lower_case_alike(self, app: App, api: Bank) -> None:
        for name in ("Straßer Öre", "Ann", "ÖRELIUS"):
            await api.open(name, f"{len(name)}@example.org")

        async def found(part: str) -> list[str]:
            return sorted((await ask(app, Bank.search, part, context=reached(await _head(app)))).result)

        assert await found("öre") == ["Straßer Öre", "ÖRELIUS"]
        assert await found("STRASS") == ["Straßer Öre"]


class TestPoison:
    @pytest.fixture(autouse=True)
    def antidote(self) -> Iterator[None]:
        yield
        Balances.poison.clear()

    async def test_a_poisoned_event_parks_its_stream_until_an_operator_retries(self, app: App, api: Bank) -> None:
        sick, well = await api.open("Ann", "a@example.org"), await api.open("Bob", "b@example.org")
        Balances.poison.add("poison")
        await api.deposit(sick, 1, "poison")
        await api.deposit(sick, 2)
        await api.deposit(well, 5)

        assert (await _balance(app, sick), await _balance(app, well)) == (0, 5)

        store = app.running["bank"].store
        first, second = await store.parked()
        assert re.fullmatch(r"ValueError: poison is poison \(\S+bank\.py:\d+ in project\)", first.error)
        assert second.error == ""
        Balances.poison.clear()
        await ask_for(store, first.subscription, first.position, "retry")
        await _parked_nothing(store)
        assert (await _balance(app, sick), await _balance(app, well)) == (3, 5)

    async def test_a_dropped_event_is_left_out(self, app: App, api: Bank, account: AccountId) -> None:
        Balances.poison.add("poison")
        await api.deposit(account, 1, "poison")
        await api.deposit(account, 2)
        await _balance(app, account)
        store = app.running["bank"].store
        first = (await store.parked())[0]

        await ask_for(store, first.subscription, first.position, "drop")
        await _parked_nothing(store)

        assert await _balance(app, account) == 2


class Spoiled(Balances):
    """Makes a row that no store has a place for of a deposit called spoiled."""

    balances: Rows[BalanceRow]
    unfit: ClassVar[dict[str, Any]] = {}

    def project(self, event: Recorded[AccountOpened | MoneyDeposited | MoneyWithdrawn]) -> None:
        super().project(event)
        if isinstance(event.data, MoneyDeposited) and event.data.reference == "spoiled":
            self.balances.fold(AccountId(event.subject), by=lambda row: replace(row, **self.unfit))
        if isinstance(event.data, MoneyDeposited) and event.data.reference == "unspeakable":
            raise ValueError("\0 and \ud800")


Spoiled.name = Balances.name


class TestRowsThatNoStoreHasAPlaceFor:
    @pytest.mark.parametrize(
        "unfit",
        [
            {"balance": Decimal("0.5")},
            {"balance": 2**70},
            {"balance": "ten"},
            {"balance": object()},
            {"owner": "a\0b"},
            {"owner": "a\ud800b"},
        ],
        ids=["decimal", "huge", "text", "object", "NUL", "half a pair"],
    )
    async def test_are_their_events_fault_which_is_parked_and_all_others_flow(
        self, start: StartApp, monkeypatch: pytest.MonkeyPatch, unfit: dict[str, Any]
    ) -> None:
        monkeypatch.setattr(Spoiled, "unfit", unfit)
        writer = await start(bank(projections=(Spoiled, Owners)))
        api = writer.api(Bank)
        sick, well = await api.open("Ann", "a@example.org"), await api.open("Bob", "b@example.org")
        for amount in (1, 2):
            await api.deposit(well, amount)
        await api.deposit(sick, 7, "spoiled")
        await api.deposit(well, 5)

        app = await start(bank(projections=(Spoiled, Owners)), subscriptions=True)

        assert (await _balance(app, sick), await _balance(app, well)) == (0, 8)
        (parked,) = await app.running["bank"].store.parked()
        assert parked.attempts == 1

    async def test_an_event_is_parked_even_if_its_error_can_not_be_stored(self, start: StartApp) -> None:
        app = await start(bank(projections=(Spoiled, Owners)), subscriptions=True)
        account = await app.api(Bank).open("Ann", "a@example.org")

        await app.api(Bank).deposit(account, 1, "unspeakable")

        assert await _balance(app, account) == 0
        (parked,) = await app.running["bank"].store.parked()
        assert parked.error.startswith("ValueError")


async def _parked_nothing(store: Store) -> None:
    async def empty() -> bool:
        return not await store.parked()

    await until(empty)


class SharedRow(Row):
    name: Key[str]
    count: int


class Shared(Projection):
    """All accounts count into one row; an account called poison says two things, of which the second fails."""

    shared: Rows[SharedRow]
    poison: ClassVar[str] = "poison"
    unfit: ClassVar[str] = "unfit"

    def project(self, event: Recorded[AccountOpened | MoneyDeposited]) -> None:
        match event.data:
            case AccountOpened(owner=self.poison):
                self.shared.put(SharedRow(name="all", count=-1))
                self.shared.fold("nobody", by=lambda row: row)
            case AccountOpened(owner=self.unfit):
                self.shared.put(SharedRow(name=self.unfit, count="a\ud800b"))  # type: ignore[arg-type]
            case AccountOpened():
                self.shared.put_new(SharedRow(name="all", count=0))
                self.shared.fold("all", by=lambda row: replace(row, count=row.count + 1))
            case MoneyDeposited(reference=reference):
                if reference == self.poison:
                    raise ValueError(reference)
                self.shared.fold("all", by=lambda row: replace(row, count=row.count + 100))


class TestAPage:
    """What a projector makes of one page."""

    TYPES = EventTypes([AccountOpened, MoneyDeposited])

    async def _project(self, store: Store, *events: StoredEvent) -> tuple[list[str], list[tuple[int, bool]]]:
        """Project a page without anything remembered; return the row, and what was parked with or without an error."""
        handled = await ProjectionHandler(ProjectionDefinition(Shared), store, self.TYPES, 1).handle(
            EventPage(events, events[-1].position, self.TYPES), events
        )
        await write(store, Changeset(rows=handled.rows))
        (table,) = (row_type.table(1) for row_type in ProjectionDefinition(Shared).rows.values())
        rows = await store.get_rows(table, [("all",)])
        return [row for row in rows if row], [(fail.event.position, bool(fail.error)) for fail in handled.failed]

    @staticmethod
    def _event(position: int, stream: str, version: int, type: str, data: str) -> StoredEvent:
        return StoredEvent(f"account-{stream}", version, f"id-{position}", type, 1, data, "{}", NOON, position)

    def _opened(self, position: int, stream: str, owner: str = "Ann") -> StoredEvent:
        return self._event(position, stream, 1, "AccountOpened", f'{{"owner":"{owner}","email":"e"}}')

    def _deposited(self, position: int, stream: str, version: int, reference: str = "") -> StoredEvent:
        return self._event(position, stream, version, "MoneyDeposited", f'{{"amount":1,"reference":"{reference}"}}')

    @pytest.fixture
    async def tables(self, store: Store) -> None:
        for row_type in ProjectionDefinition(Shared).rows.values():
            await store.create_table(row_type.table(1))

    async def test_what_a_failed_event_has_said_is_forgotten_wholly(self, store: Store, tables: None) -> None:
        await self._project(store, self._opened(1, "a"), self._opened(2, "b"))

        rows, failed = await self._project(store, self._opened(3, "c", "poison"), self._opened(4, "d"))

        assert rows == ['{"name":"all","count":3}']
        assert failed == [(3, True)]

    async def test_what_came_before_a_poisoned_event_of_its_stream_takes_effect(
        self, store: Store, tables: None
    ) -> None:
        rows, failed = await self._project(
            store,
            self._opened(1, "a"),
            self._deposited(2, "a", 2),
            self._deposited(3, "a", 3, "poison"),
            self._deposited(4, "a", 4),
        )

        assert rows == ['{"name":"all","count":101}']
        assert failed == [(3, True), (4, False)]

    async def test_a_page_that_no_rows_can_be_made_of_leaves_nothing_remembered(
        self, store: Store, tables: None
    ) -> None:
        projector = ProjectionHandler(ProjectionDefinition(Shared), store, self.TYPES, 1)
        first, second, unfit = self._opened(1, "a"), self._opened(2, "b"), self._opened(3, "c", "unfit")
        handled = await projector.handle(EventPage([first], 1, self.TYPES), [first])
        await write(store, Changeset(rows=handled.rows))

        with pytest.raises(StatementFailed):
            await projector.handle(EventPage([second, unfit], 3, self.TYPES), [second, unfit])
        (again,) = (await projector.handle(EventPage([second], 2, self.TYPES), [second])).rows

        assert isinstance(again, RowPut)
        assert again.row.row == '{"name":"all","count":2}'

    async def test_an_event_that_can_not_be_decoded_is_parked(self, store: Store, tables: None) -> None:
        broken = self._event(2, "x", 2, "MoneyDeposited", '{"amount":"much"}')

        rows, failed = await self._project(store, self._opened(1, "a"), broken, self._opened(3, "b"))

        assert rows == ['{"name":"all","count":2}']
        assert failed == [(2, True)]

    async def test_what_needs_a_row_that_can_not_be_decoded_is_parked_and_others_flow(
        self, store: Store, tables: None
    ) -> None:
        (table,) = (row_type.table(1) for row_type in ProjectionDefinition(Shared).rows.values())
        await write(store, Changeset(rows=[RowPut(table, StoredRow(("all",), (), '{"name":"all","count":"many"}'))]))

        rows, failed = await self._project(store, self._opened(1, "a"), self._opened(2, "b"))

        assert rows == ['{"name":"all","count":"many"}']
        assert failed == [(1, True), (2, True)]

    async def test_a_row_that_can_not_be_decoded_is_read_again_when_it_is_retried(
        self, store: Store, tables: None
    ) -> None:
        (table,) = (row_type.table(1) for row_type in ProjectionDefinition(Shared).rows.values())
        projector = ProjectionHandler(ProjectionDefinition(Shared), store, self.TYPES, 1)
        await write(store, Changeset(rows=[RowPut(table, StoredRow(("all",), (), "?"))]))
        event = self._opened(1, "a")
        await projector.handle(EventPage([event], 1, self.TYPES), [event])
        await write(store, Changeset(rows=[RowPut(table, StoredRow(("all",), (), '{"name":"all","count":7}'))]))

        handled = await projector.handle(EventPage([event], 1, self.TYPES), [event])

        assert not handled.failed
        await write(store, Changeset(rows=handled.rows))
        assert list(await store.get_rows(table, [("all",)])) == ['{"name":"all","count":8}']


class Balances2(Balances):
    """The next version of the balances."""

    version = 2
    balances: Rows[BalanceRow]

    def project(self, event: Recorded[AccountOpened | MoneyDeposited | MoneyWithdrawn]) -> None:
        account = AccountId(event.subject)
        match event.data:
            case AccountOpened(owner=owner):
                self.balances.put(BalanceRow(account=account, owner=owner.upper(), balance=0, events=1))
            case MoneyDeposited(amount=amount):
                self._add(account, amount)
            case MoneyWithdrawn(amount=amount):
                self._add(account, -amount)


Balances2.name = Balances.name


class TestARebuild:
    async def test_never_shows_an_empty_or_shrunken_view(self, app: App, api: Bank) -> None:
        ids = [await api.open(f"Owner {n}", f"{n}@example.org") for n in range(30)]
        await _balance(app, ids[0])
        totals: list[int] = []
        runner = app.running["bank"].projections["balances"]

        async def look() -> None:
            while True:
                totals.append((await api.accounts()).total)
                await asyncio.sleep(0)

        looking = asyncio.create_task(look())
        for generation in (2, 3, 4, 5):
            assert (await runner.rebuild()).building == generation
            await api.open("One more", f"more-{generation}@example.org")
            await _swapped(app, "balances", generation)
        assert not looking.done()
        looking.cancel()

        assert totals == sorted(totals)
        assert totals[0] == 30
        assert await _balance(app, ids[0]) == 0

    async def test_misses_nothing_that_is_written_meanwhile(self, app: App, api: Bank, account: AccountId) -> None:
        runner = app.running["bank"].projections["balances"]
        writing = asyncio.gather(*(api.deposit(account, 1) for _ in range(200)))

        await runner.rebuild()
        await _swapped(app, "balances", 2)
        await writing

        assert await _balance(app, account) == 200

    async def test_that_is_going_on_is_not_begun_again(self, app: App) -> None:
        runner = app.running["bank"].projections["balances"]

        answers = await asyncio.gather(runner.rebuild(), runner.rebuild())

        assert [answer.building for answer in answers] == [2, 2]

    async def test_is_seen_by_a_process_that_has_no_part_in_it(
        self, app: App, start: StartApp, api: Bank, account: AccountId
    ) -> None:
        reader = await start(bank())
        for generation in (2, 3):
            await app.running["bank"].projections["balances"].rebuild()
            await _swapped(app, "balances", generation)
        await api.deposit(account, 3)
        await _balance(app, account)

        assert await reader.api(Bank).balance(account) == 3

    async def test_can_be_rolled_back_and_the_old_view_catches_up(
        self, app: App, api: Bank, account: AccountId
    ) -> None:
        runner = app.running["bank"].projections["balances"]
        await runner.rebuild()
        await _swapped(app, "balances", 2)
        await api.deposit(account, 5)

        assert (await runner.roll_back()).live == 1

        assert await _balance(app, account) == 5
        progress = await runner.progress()
        assert (progress.live, progress.previous) == (1, 2)

    async def test_has_nothing_to_roll_back_to_before_the_first(self, app: App) -> None:
        with pytest.raises(MisuseError, match="no generation before"):
            await app.running["bank"].projections["balances"].roll_back()

    async def test_tells_how_far_it_is(self, app: App, api: Bank, account: AccountId) -> None:
        await _balance(app, account)

        progress = await app.running["bank"].projections["balances"].progress()

        assert (progress.projection, progress.live, progress.building, progress.parked) == ("balances", 1, 0, 0)
        assert progress.position == progress.head
        assert progress.lag == 0


class TestANewVersion:
    async def test_is_built_beside_the_old_one_and_swapped_in(
        self, app: App, start: StartApp, api: Bank, account: AccountId
    ) -> None:
        await _balance(app, account)
        renewed = await start(bank(projections=[Balances2, Owners]), subscriptions=True)

        await _swapped(renewed, "balances", 2)
        await api.deposit(account, 1)

        reading = await ask(renewed, Bank.search, "ann", context=reached(await _head(app)))
        assert reading.result == ("ANN",)
        assert await _balance(renewed, account) == 1

    async def test_is_begun_once_although_several_processes_bring_it(
        self, app: App, start: StartApp, api: Bank, account: AccountId
    ) -> None:
        await _balance(app, account)

        many = [await start(bank(projections=[Balances2, Owners]), subscriptions=True) for _ in range(2)]

        await _swapped(many[0], "balances", 2)
        assert (await many[1].running["bank"].projections["balances"].progress()).building == 0

    async def test_a_view_over_a_log_that_was_there_before_is_unavailable_until_it_is_built(
        self, store: Store, start: StartApp
    ) -> None:
        account = AccountId.new()
        stream = f"account-{account}"
        opened = NewEvent(stream, 1, "id", "AccountOpened", 1, '{"owner":"Ann","email":"e"}', "{}", NOON)
        unit = appending(stream)
        unit.appends[0].events[0] = opened  # type: ignore[index]
        await write(store, unit)
        idle = await start(bank())

        with pytest.raises(Unavailable):
            await idle.api(Bank).accounts()
        app = await start(bank(), subscriptions=True)
        await _swapped(app, "balances", 1)

        assert await _balance(app, account) == 0


class TestGenerations:
    async def test_a_change_that_was_thought_out_on_an_older_state_is_refused(self, store: Store) -> None:
        record = GenerationRecord(ProjectionDefinition(Owners), store, LiveInline(store))
        first, second = record.new_generation(1), record.new_generation(2)
        await record.replace(record.state, Generations(live=first, newest=1))
        seen = await record.refresh()
        await record.replace(seen, Generations(live=first, building=second, newest=2))

        with pytest.raises(DocumentChanged):  # though the record itself knows the newest state
            await record.replace(seen, Generations(live=second, newest=2))

        assert (
            await GenerationRecord(ProjectionDefinition(Owners), store, LiveInline(store)).refresh()
        ).building == second


class TestAnInlineProjection:
    async def test_shows_what_was_written_when_the_command_is_answered(self, api: Bank, other: Bank) -> None:
        account = await api.open("Ann", "ann@example.org")
        await api.deposit(account, 1)

        for one in (api, other):
            row = await one.owner(account)
            assert row is not None
            assert (row.email, row.deposits) == ("ann@example.org", 1)

    async def test_a_rebuild_under_load_refuses_no_command_and_counts_each_event_once(
        self, app: App, api: Bank
    ) -> None:
        ids = [await api.open(f"Owner {n}", f"{n}@example.org") for n in range(4)]
        await self._deposit_during_rebuilds(app, [app], ids)

    async def test_a_rebuild_under_load_of_two_processes_does_neither(
        self, app: App, start: StartApp, api: Bank
    ) -> None:
        ids = [await api.open(f"Owner {n}", f"{n}@example.org") for n in range(4)]
        await self._deposit_during_rebuilds(app, [app, await start(bank(), subscriptions=True)], ids)

    async def _deposit_during_rebuilds(self, app: App, apps: list[App], ids: list[AccountId]) -> None:
        over = asyncio.Event()

        async def deposit(one: App, account: AccountId) -> int:
            count = 0
            while not over.is_set():
                await one.api(Bank).deposit(account, 1)
                count += 1
            return count

        depositing = [asyncio.create_task(deposit(one, account)) for one in apps for account in ids]
        try:
            for generation in (2, 3, 4):
                await app.running["bank"].projections["owners"].rebuild()
                await _swapped(app, "owners", generation)
        finally:
            over.set()
        counts = await asyncio.gather(*depositing)

        rows = [await app.api(Bank).owner(account) for account in ids]
        expected = [sum(counts[place :: len(ids)]) for place in range(len(ids))]
        assert [row.deposits for row in rows if row] == expected

    async def test_can_not_be_rolled_back(self, app: App) -> None:
        with pytest.raises(MisuseError, match="rebuild it instead"):
            await app.running["bank"].projections["owners"].roll_back()

    async def test_is_not_waited_for(self, app: App, api: Bank, account: AccountId) -> None:
        far = Context(positions={"bank": 1})

        assert (await ask(app, Bank.owner, account, context=far)).result is not None


class TagsRow(Row):
    account: Key[AccountId]
    tags: frozenset[str]


class Tags(Projection):
    tags: Rows[TagsRow]

    def project(self, event: Recorded[AccountOpened]) -> None:
        self.tags.put(TagsRow(account=AccountId(event.subject), tags=frozenset({"new", event.data.owner})))


class TestVerifying:
    """Rows are compared by what they mean."""

    @pytest.fixture
    async def app(self, start: StartApp, store: Store) -> App:
        app = await start(bank(projections=[Balances, Owners, Tags]), subscriptions=True)
        account = await app.api(Bank).open("Ann", "ann@example.org")
        await _balance(app, account)

        async def tagged() -> bool:
            return not (await app.running["bank"].projections["tags"].progress()).lag

        await until(tagged)
        return app

    @staticmethod
    async def _store(store: Store, tags: str) -> None:
        (row_type,) = ProjectionDefinition(Tags).rows.values()
        ((row,),) = (tuple(await store.fetch(Statement(f"SELECT account FROM {row_type.table(1).name}", {}))),)
        text = f'{{"account":"{row["account"]}","tags":{tags}}}'
        await write(store, Changeset(rows=[RowPut(row_type.table(1), StoredRow((row["account"],), (), text))]))

    @pytest.mark.parametrize("tags", ['["new","Ann"]', '["Ann","new"]'])
    async def test_a_set_may_be_written_in_the_order_of_another_process(
        self, app: App, store: Store, tags: str
    ) -> None:
        await self._store(store, tags)

        assert [problem async for problem in app.running["bank"].verify()] == []

    @pytest.mark.parametrize("tags", ['["new"]', '["new","Ann","old"]', '"?"'])
    async def test_another_set_or_none_at_all_is_found(self, app: App, store: Store, tags: str) -> None:
        await self._store(store, tags)

        (problem,) = [problem async for problem in app.running["bank"].verify()]
        assert problem.startswith("tags ")
        assert problem.endswith("the read model differs from the events")


class TestTheShapeOfRows:
    """What a stored row is read as: another shape makes a new generation, however deep the change is."""

    def test_changes_with_what_its_rows_hold(self) -> None:
        class Inner(Value):
            amount: int

        class Before(Row):
            id: Key[str]
            inner: tuple[Inner, ...]

        before = RowDefinition(Before)

        class Inner(Value):  # type: ignore[no-redef]
            amount: int
            currency: str

        class After(Row):
            id: Key[str]
            inner: tuple[Inner, ...]

        After.__name__ = "Before"
        assert RowDefinition(After).shape != before.shape

    async def test_another_index_makes_a_new_generation(self, place: Place) -> None:
        class TagsRow(Row):
            account: Key[AccountId]
            tags: frozenset[str]
            owner: str = ""

        class IndexedRow(Row):
            account: Key[AccountId]
            tags: frozenset[str]
            owner: Index[str] = ""

        IndexedRow.__name__ = "TagsRow"
        for row, generation in ((TagsRow, 1), (IndexedRow, 2)):

            class Tags(Projection):
                tags: Rows[row]  # type: ignore[valid-type]

                def project(self, event: Recorded[AccountOpened]) -> None:
                    self.tags.put(row(account=AccountId(event.subject), tags=frozenset(), owner=event.data.owner))  # noqa: B023

            Tags.__annotations__["tags"] = Rows[row]  # type: ignore[valid-type]
            app = App("test", modules=[bank(projections=[Balances, Owners, Tags])])
            async with app.run(place):
                await app.api(Bank).open("Ann", f"{generation}@example.org")
                await _swapped(app, "tags", generation)


@pytest.mark.parametrize("text", ["a\0b", "half a pair: \ud800"])
async def test_a_row_is_not_found_by_what_no_store_keeps(api: Bank, text: str) -> None:
    assert await api.search(text) == ()
    assert await api.owner(str.__new__(AccountId, text)) is None
