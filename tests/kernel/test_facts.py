"""Refusals that are facts, answers that are secret, and keys that messages bring along."""

import pytest

from craton.application import (
    AnswerNotKept,
    Api,
    Caller,
    Cause,
    Context,
    Index,
    Key,
    KeyReused,
    Module,
    Page,
    Projection,
    Repository,
    Row,
    Rows,
    Saga,
    View,
    command,
    narrow,
    once,
    query,
    step,
)
from craton.application.command_keys import CommandKey
from craton.application.context import entered
from craton.application.sagas.state import Status
from craton.domain import AccessDenied, Aggregate, Conflict, DomainError, Event, Id, Recorded, Secret, Text
from craton.runtime import App
from tests.kernel.bank import ask
from tests.kernel.conftest import OpenOffice, StartApp
from tests.kernel.travel import Desk, SoldOut, TripId, Weather

SAFE = "00000000-0000-7000-8000-00000000000a"
OTHER = "00000000-0000-7000-8000-00000000000b"
KEY = Context(key=CommandKey("key-1"), actor="ann")


class SafeId(Id):
    pass


class Failed(Event):
    owner: str = "ann"


class Opened(Event):
    owner: str = "ann"


class WrongCode(Conflict):
    """That isn't it."""

    keeps_changes = True

    tries: int


class Jammed(WrongCode):
    """It is jammed, and this is no fact any more."""

    keeps_changes = False


class Safe(Aggregate[SafeId]):
    failures: int = 0
    openings: int = 0

    def apply(self, event: Failed | Opened) -> None:
        if isinstance(event, Failed):
            self.failures += 1
        else:
            self.openings += 1


class SafeRow(Row):
    safe: Key[SafeId]
    owner: Index[str]
    failures: int


class SafeList(Projection):
    inline = True
    safes: Rows[SafeRow]

    def project(self, event: Recorded[Failed | Opened]) -> None:
        safe = SafeId(event.subject)
        begun = SafeRow(safe=safe, owner=event.data.owner, failures=0)
        more = isinstance(event.data, Failed)
        if event.version == 1:
            self.safes.put(SafeRow(safe=safe, owner=begun.owner, failures=int(more)))
        elif more:
            self.safes.fold(safe, by=lambda row: SafeRow(safe=safe, owner=row.owner, failures=row.failures + 1))


class Ticket(Row):
    """An answer whose secret lies deeper."""

    number: int
    stub: Secret


class Vault(Api):
    @command
    async def try_code(self, safe: SafeId, code: Secret) -> None:
        """Open a safe."""

    @command
    async def jam(self, safe: SafeId) -> None:
        """Fail for another reason."""

    @command
    async def issue(self, safe: SafeId) -> tuple[Ticket, ...]:
        """Open a safe and get something secret."""

    @query
    async def counted(self, safe: SafeId) -> tuple[int, int]:
        """Failures and openings."""

    @query
    async def listed(self, safes: tuple[SafeId, ...]) -> dict[str, int]:
        """The failures of those of some safes that there are."""

    @query
    async def safes(self, owner: Text | None = None) -> tuple[str, ...]:
        """Whose safes the caller sees."""


class VaultService(Vault):
    def __init__(self, safes: Repository[Safe], rows: View[SafeRow]) -> None:
        self._safes = safes
        self._rows = rows

    async def try_code(self, safe: SafeId, code: Secret) -> None:
        found = await self._safe(safe)
        if code.reveal() != "sesame":
            found.record(Failed())
            raise WrongCode(tries=found.failures)
        found.record(Opened())

    async def jam(self, safe: SafeId) -> None:
        (await self._safe(safe)).record(Failed())
        raise Jammed(tries=0)

    async def issue(self, safe: SafeId) -> tuple[Ticket, ...]:
        found = await self._safe(safe)
        found.record(Opened())
        return (Ticket(number=found.openings, stub=Secret(f"stub {found.openings}")),)

    async def counted(self, safe: SafeId) -> tuple[int, int]:
        found = await self._safes.find(safe)
        return (0, 0) if found is None else (found.failures, found.openings)

    async def listed(self, safes: tuple[SafeId, ...]) -> dict[str, int]:
        return {str(safe): row.failures for safe, row in (await self._rows.all(safes)).items()}

    async def safes(self, owner: Text | None = None) -> tuple[str, ...]:
        whose = narrow(owner, "admin")
        found: Page[SafeRow] = await self._rows.page(owner=whose)
        return tuple(row.owner for row in found.items)

    async def _safe(self, id: SafeId) -> Safe:
        found = await self._safes.find(id)
        if found is None:
            found = Safe(id)
            self._safes.add(found)
        return found


@pytest.fixture
async def vault(start: StartApp) -> App:
    return await start(Module("vault", api=Vault, service=VaultService, projections=[SafeList]))


async def events(app: App) -> list[str]:
    return [event.type async for event in app.running["vault"].source.stored()]


async def code_tried(app: App, code: str, context: Context | None = None) -> DomainError | None:
    """What trying a code is refused with; None if the safe opens."""
    try:
        await ask(app, Vault.try_code, SafeId(SAFE), Secret(code), context=context or Context())
    except DomainError as refusal:
        return refusal
    return None


class TestARefusalThatIsAFact:
    async def test_is_committed_with_what_was_changed_before_it(self, vault: App) -> None:
        assert [await code_tried(vault, "mellon") for _ in range(3)] == [WrongCode(tries=n) for n in (1, 2, 3)]
        assert await code_tried(vault, "sesame") is None

        assert await events(vault) == ["Failed"] * 3 + ["Opened"]
        assert await vault.api(Vault).counted(SafeId(SAFE)) == (3, 1)
        assert await vault.api(Vault).listed((SafeId(SAFE),)) == {SAFE: 3}

    async def test_is_committed_once_under_its_key_and_given_again(self, vault: App) -> None:
        first, again = [await code_tried(vault, "mellon", KEY) for _ in range(2)]

        assert first == again == WrongCode(tries=1)
        assert getattr(again, "replayed", False)
        assert not getattr(first, "replayed", False)
        assert await events(vault) == ["Failed"]

    async def test_is_seen_by_another_process_that_asks_with_the_key(self, vault: App, start: StartApp) -> None:
        other = await start(Module("vault", api=Vault, service=VaultService, projections=[SafeList]))

        assert await code_tried(vault, "mellon", KEY) == await code_tried(other, "mellon", KEY) == WrongCode(tries=1)
        assert await other.api(Vault).counted(SafeId(SAFE)) == (1, 0)

    async def test_keeps_nothing_when_it_is_none(self, vault: App) -> None:
        with pytest.raises(Jammed):
            await vault.api(Vault).jam(SafeId(SAFE))
        with pytest.raises(Jammed):
            await ask(vault, Vault.jam, SafeId(SAFE), context=KEY)

        assert await events(vault) == []


class TestASecret:
    async def test_in_an_answer_keeps_it_from_being_stored_under_a_key_that_is_taken(self, vault: App) -> None:
        first = await ask(vault, Vault.issue, SafeId(SAFE), context=KEY)

        with pytest.raises(AnswerNotKept):
            await ask(vault, Vault.issue, SafeId(SAFE), context=KEY)

        assert (first.result[0].stub.reveal(), first.replayed) == ("stub 1", False)
        assert await events(vault) == ["Opened"]

    async def test_in_a_request_is_no_part_of_its_fingerprint(self, vault: App) -> None:
        assert await code_tried(vault, "sesame", KEY) is None
        assert await code_tried(vault, "mellon", KEY) is None

        assert await events(vault) == ["Opened"]
        with pytest.raises(KeyReused):
            await ask(vault, Vault.try_code, SafeId(OTHER), Secret("sesame"), context=KEY)


class TestOnce:
    async def test_gives_a_message_that_comes_again_no_second_effect(self, vault: App) -> None:
        api = vault.api(Vault)
        for _ in range(2):
            with once("letter/1"):
                await api.try_code(SafeId(SAFE), Secret("sesame"))
                await api.try_code(SafeId(SAFE), Secret("sesame"))
        with once("letter/2"):
            await api.try_code(SafeId(SAFE), Secret("sesame"))

        assert await events(vault) == ["Opened"] * 3

    async def test_keeps_no_refusal_so_that_the_message_may_come_again(self, vault: App) -> None:
        api = vault.api(Vault)
        for _ in range(2):
            with once("letter/1"), pytest.raises(Jammed):
                await api.jam(SafeId(SAFE))

        with once("letter/1"):
            await api.try_code(SafeId(SAFE), Secret("sesame"))

        assert await events(vault) == ["Opened"]

    async def test_ends_with_its_block(self, vault: App) -> None:
        api = vault.api(Vault)
        with once("letter/1"):
            await api.try_code(SafeId(SAFE), Secret("sesame"))

        for _ in range(2):
            await api.try_code(SafeId(SAFE), Secret("sesame"))

        assert await events(vault) == ["Opened"] * 3


class TestAView:
    async def test_finds_all_rows_of_some_keys_at_once(self, vault: App) -> None:
        await code_tried(vault, "mellon")
        with pytest.raises(WrongCode):
            await vault.api(Vault).try_code(SafeId(OTHER), Secret("mellon"))
        api, nobodys = vault.api(Vault), SafeId.new()

        assert await api.listed(()) == {}
        assert await api.listed((nobodys,)) == {}
        assert await api.listed((SafeId(OTHER), nobodys, SafeId(SAFE), SafeId(OTHER))) == {OTHER: 1, SAFE: 1}
        assert list(await api.listed((SafeId(OTHER), SafeId(SAFE)))) == [OTHER, SAFE]

    async def test_finds_many_more_than_there_are(self, vault: App) -> None:
        await code_tried(vault, "mellon")

        many = (*(SafeId.new() for _ in range(3_000)), SafeId(SAFE))

        assert await vault.api(Vault).listed(many) == {SAFE: 1}


class TestNarrow:
    @pytest.mark.parametrize(
        ("caller", "owner", "whose"),
        [
            (None, None, None),
            (None, "bob", "bob"),
            (Caller("ann", frozenset()), None, "ann"),
            (Caller("ann", frozenset()), "ann", "ann"),
            (Caller("ann", frozenset({"member"})), None, "ann"),
            (Caller("root", frozenset({"admin"})), None, None),
            (Caller("root", frozenset({"admin"})), "bob", "bob"),
        ],
    )
    def test_returns_the_owner_whose_things_a_caller_may_see(
        self, caller: Caller | None, owner: str | None, whose: str | None
    ) -> None:
        with entered(Context(caller=caller)):
            assert narrow(owner, "admin") == whose

    @pytest.mark.parametrize("roles", [frozenset(), frozenset({"member"})])
    def test_refuses_a_caller_that_asks_for_anothers_things(self, roles: frozenset[str]) -> None:
        with entered(Context(caller=Caller("ann", roles))), pytest.raises(AccessDenied):
            narrow("bob", "admin")

    async def test_keeps_a_list_to_its_callers_own(self, vault: App) -> None:
        await code_tried(vault, "mellon")
        ann, bob = Caller("ann", frozenset()), Caller("bob", frozenset())

        assert (await ask(vault, Vault.safes, context=Context(caller=ann))).result == ("ann",)
        assert (await ask(vault, Vault.safes, context=Context(caller=bob))).result == ()
        with pytest.raises(AccessDenied):
            await ask(vault, Vault.safes, Text("ann"), context=Context(caller=bob))


class Errand(Saga):
    """Books two things; whoever undoes the first learns why."""

    trip: TripId

    @step
    async def first(self, desk: Desk) -> None:
        await desk.book(self.trip, "first")

    @first.undo
    async def undo_first(self, why: Cause, desk: Desk) -> None:
        await desk.cancel(
            self.trip, f"{why.code}: {why.reason}".replace(" ", "-").replace(":", "").lower()[:30].rstrip(".")
        )

    @step(after=first)
    async def second(self, desk: Desk) -> None:
        await desk.book(self.trip, "second")


class TestACause:
    async def test_tells_a_compensation_why(self, open_office: OpenOffice, weather: Weather) -> None:
        office = await open_office(Errand)
        weather.plan("second", SoldOut())

        trip = await office.begin()

        await office.at_rest(trip, Status.COMPENSATED)
        (undone,) = [call for call in weather.calls if call.startswith("undo")]
        assert undone == "undo sold-out-there-is-none-left"
