"""What an aggregate was, how it is loaded, and how old facts are read."""

from datetime import timedelta
from typing import Any

import pytest

from craton.application import Api, Module, Repository, Upcaster, WiringError, command, query
from craton.application.errors import NeedsNewerProgram
from craton.domain import Aggregate, Event, Id
from craton.ports import Append, Changeset, NewEvent, Snapshot, Store
from craton.runtime import App
from craton.runtime.commands.state_type import state_type
from tests.conftest import Place
from tests.kernel.bank import Account, AccountId, AccountNotFound, Bank, bank
from tests.kernel.conftest import Clock, StartApp


class TestTimeTravel:
    async def test_each_version_is_what_replaying_the_first_events_gives(self, api: Bank) -> None:
        account = await api.open("Ann", "ann@example.org")
        balances = [0]
        for amount in range(1, 13):
            balances.append(await (api.deposit if amount % 3 else api.withdraw)(account, amount))

        seen = [(await api.state(account, version=version)).balance for version in range(1, 14)]

        assert seen == balances

    async def test_each_time_shows_what_was_known_then(self, api: Bank, clock: Clock) -> None:
        account = await api.open("Ann", "ann@example.org")
        times = []
        for amount in (1, 2, 3):
            times.append(clock.forward(minutes=1))
            await api.deposit(account, amount)

        assert [(await api.state(account, at=time)).balance for time in times] == [1, 3, 6]
        assert (await api.state(account, at=times[1] + timedelta(seconds=59))).balance == 3
        assert (await api.state(account, at=times[1] - timedelta(microseconds=1))).balance == 1

    async def test_before_its_beginning_and_after_its_newest_version_there_is_nothing(
        self, api: Bank, clock: Clock
    ) -> None:
        account = await api.open("Ann", "ann@example.org")

        for past in ({"at": clock.time - timedelta(seconds=1)}, {"version": 2}, {"version": 0}):
            with pytest.raises(AccountNotFound):
                await api.state(account, **past)

    async def test_a_history_longer_than_a_page_is_replayed_to_its_end(self, api: Bank) -> None:
        account = await api.open("Ann", "ann@example.org")
        await api.deposit_often(account, 2_005)

        assert (await api.state(account, version=2_000)).balance == 1_999
        assert (await api.state(account, version=2_006)).balance == 2_005
        assert (await api.state(account)).balance == 2_005


class TestSnapshots:
    async def test_the_state_is_kept_each_time_so_many_events_were_recorded(self, app: App, api: Bank) -> None:
        account = await api.open("Ann", "ann@example.org")
        for _ in range(6):
            await api.deposit(account, 1)

        snapshot = await _snapshot(app, account)

        assert snapshot.version == 5

    async def test_a_state_of_another_shape_is_ignored_and_rebuilt(
        self, app: App, api: Bank, place: Place, start: StartApp
    ) -> None:
        account = await api.open("Ann", "ann@example.org")
        for _ in range(5):
            await api.deposit(account, 1)

        renewed = await start(Module("bank", api=Till, service=TillService, retired=["owners"]))

        assert await renewed.api(Till).total(account) == 5
        assert await renewed.api(Till).bump(account) == 6

    async def test_a_kept_state_saves_reading_the_events_before_it(self, app: App, api: Bank, other: Bank) -> None:
        account = await api.open("Ann", "ann@example.org")
        for _ in range(5):
            await api.deposit(account, 1)
        kept = await _snapshot(app, account)

        lie = Snapshot(
            kept.stream, kept.version + 1, kept.fingerprint, kept.state.replace('"balance":4', '"balance":70')
        )
        await app.running["bank"].store.write([Changeset(guards=[(kept.stream, 6)], snapshots=[lie])])

        assert (await other.state(account)).balance == 70
        assert (await other.state(account, version=6)).balance == 5


async def _snapshot(app: App, account: AccountId) -> Snapshot:
    (state,) = await app.running["bank"].store.load([(f"account-{account}", state_type(Account).fingerprint)])
    assert state.snapshot is not None
    return state.snapshot


class AccountOpened(Event):
    owner: str
    email: str


class MoneyDeposited(Event):
    amount: int
    reference: str = ""


class TillAccount(Aggregate[Id]):
    """The account of a later release: it keeps another state from the same facts."""

    stream_prefix = "account"
    snapshot_every = 2
    deposits: tuple[int, ...] = ()

    def apply(self, event: AccountOpened | MoneyDeposited) -> None:
        if isinstance(event, MoneyDeposited):
            self.deposits = (*self.deposits, event.amount)


class Till(Api):
    @query
    async def total(self, account: AccountId) -> int: ...

    @command
    async def bump(self, account: AccountId) -> int: ...


class TillService(Till):
    def __init__(self, accounts: Repository[TillAccount]) -> None:
        self._accounts = accounts

    async def total(self, account: AccountId) -> int:
        return sum((await self._accounts.get(account)).deposits)

    async def bump(self, account: AccountId) -> int:
        found = await self._accounts.get(account)
        found.record(MoneyDeposited(amount=1))
        return sum(found.deposits)


class Weighed(Event):
    schema_version = 3

    grams: int
    scale: str


class Parcel(Aggregate[Id]):
    grams: int = 0
    scale: str = ""

    def apply(self, event: Weighed) -> None:
        self.grams, self.scale = event.grams, event.scale


class Post(Api):
    @query
    async def weight(self, parcel: AccountId) -> tuple[int, str]: ...

    @command
    async def weigh(self, parcel: AccountId, grams: int) -> None: ...


class PostService(Post):
    def __init__(self, parcels: Repository[Parcel]) -> None:
        self._parcels = parcels

    async def weight(self, parcel: AccountId) -> tuple[int, str]:
        found = await self._parcels.get(parcel)
        return found.grams, found.scale

    async def weigh(self, parcel: AccountId, grams: int) -> None:
        (await self._parcels.get(parcel)).record(Weighed(grams=grams, scale="new"))


FROM_POUNDS = Upcaster("Weighed", 1, lambda data: {"kilos": data["pounds"] // 2})
FROM_KILOS = Upcaster("Weighed", 2, lambda data: {"grams": data["kilos"] * 1_000, "scale": "old"})


def _post(*upcasters: Upcaster) -> Module:
    return Module("bank", api=Post, service=PostService, upcasters=upcasters)


class TestUpcasters:
    async def _store_old(self, store: Store, parcel: AccountId, version: int, data: str) -> None:
        stream = f"parcel-{parcel}"
        time: Any = Clock().time
        old = NewEvent(stream, 1, "id", "Weighed", version, data, "{}", time)
        await store.write([Changeset(appends=[Append(stream, 0, [old])])])

    @pytest.mark.parametrize(
        ("version", "data", "expected"),
        [
            (1, '{"pounds":8}', (4_000, "old")),
            (2, '{"kilos":3}', (3_000, "old")),
            (3, '{"grams":5,"scale":"s"}', (5, "s")),
        ],
    )
    async def test_each_old_shape_becomes_the_newest_step_by_step(
        self, store: Store, start: StartApp, version: int, data: str, expected: tuple[int, str]
    ) -> None:
        parcel = AccountId.new()
        await self._store_old(store, parcel, version, data)

        app = await start(_post(FROM_KILOS, FROM_POUNDS))

        assert await app.api(Post).weight(parcel) == expected

    async def test_new_facts_follow_on_old_ones(self, store: Store, start: StartApp) -> None:
        parcel = AccountId.new()
        await self._store_old(store, parcel, 1, '{"pounds":8}')
        post = (await start(_post(FROM_POUNDS, FROM_KILOS))).api(Post)

        await post.weigh(parcel, 7)

        assert await post.weight(parcel) == (7, "new")

    def test_a_missing_link_is_found_at_start(self) -> None:
        with pytest.raises(WiringError, match="Weighed is at version 3, but nothing upcasts version 1"):
            _post(FROM_KILOS)
        with pytest.raises(WiringError, match="nothing upcasts version 2"):
            _post(FROM_POUNDS)

    def test_one_that_leads_nowhere_is_found_at_start(self) -> None:
        with pytest.raises(WiringError, match="Weighed from version 3 leads nowhere"):
            _post(FROM_POUNDS, FROM_KILOS, Upcaster("Weighed", 3, dict))
        with pytest.raises(WiringError, match="the upcaster of Gone from version 1 leads nowhere"):
            _post(FROM_POUNDS, FROM_KILOS, Upcaster("Gone", 1, dict))

    def test_two_for_the_same_step_are_found_at_start(self) -> None:
        with pytest.raises(WiringError, match="Weighed"):
            _post(FROM_POUNDS, FROM_KILOS, Upcaster("Weighed", 1, dict))

    async def test_a_fact_of_a_later_release_is_not_misread(self, store: Store, start: StartApp) -> None:
        parcel = AccountId.new()
        app = await start(_post(FROM_POUNDS, FROM_KILOS))

        await self._store_old(store, parcel, 4, '{"grams":1,"scale":"s"}')  # by another process, of that release

        with pytest.raises(NeedsNewerProgram, match="Weighed version 4"):
            await app.api(Post).weight(parcel)


def test_the_bank_of_these_tests_is_wired() -> None:
    assert list(App("test", modules=[bank()]).wiring.problems()) == []


class TestClocksThatDiffer:
    async def test_never_make_the_times_of_an_aggregate_go_back(self, start: StartApp) -> None:
        fast, slow = Clock(), Clock()
        fast.forward(hours=1)
        ahead, behind = await start(bank(), clock=fast), await start(bank(), clock=slow)
        account = await ahead.api(Bank).open("Ann", "ann@example.org")
        for _ in range(4):
            await ahead.api(Bank).deposit(account, 1)  # the last one is that of the snapshot
        await behind.api(Bank).deposit(account, 1)
        await behind.api(Bank).deposit(account, 1)

        times = [event.time for event in await ahead.running["bank"].store.read_stream(f"account-{account}", limit=10)]

        assert times == [fast.time] * 7
        assert (await behind.api(Bank).state(account, at=fast.time)).balance == 6
        assert (await ahead.api(Bank).state(account)).balance == 6

    async def test_leave_other_aggregates_their_own_times(self, start: StartApp) -> None:
        fast, slow = Clock(), Clock()
        fast.forward(hours=1)
        ahead, behind = await start(bank(), clock=fast), await start(bank(), clock=slow)
        await ahead.api(Bank).open("Ann", "ann@example.org")

        account = await behind.api(Bank).open("Bob", "bob@example.org")

        (event,) = await behind.running["bank"].store.read_stream(f"account-{account}", limit=10)
        assert event.time == slow.time
