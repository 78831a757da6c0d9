"""Effects happen once, and a refusal is told from a failure: what a key, a lost answer and a second process may do."""

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, NewType, TypedDict, TypeVar

import msgspec
import pytest
from msgspec.structs import replace

from craton.application import (
    AnswerNotKept,
    Api,
    CommandKey,
    Context,
    DeadlineExceeded,
    KeyReused,
    Module,
    Repository,
    Saga,
    Unavailable,
    command,
    once,
    query,
    step,
)
from craton.application.codec import canonical, holds_secrets
from craton.application.errors import Overtaken
from craton.application.sagas.state import Status
from craton.domain import Aggregate, Conflict, Event, Id, Secret, TooManyAttempts, Value
from craton.ports import Changeset, Statement, StoreUnavailable
from craton.runtime import App
from craton.runtime.commands.refusals import RefusedBefore
from tests.kernel.bank import Bank, Gate, ask
from tests.kernel.conftest import Clock, OpenOffice, StartApp
from tests.kernel.office import QUICK
from tests.kernel.travel import BookingId, Desk, TripId, Weather

KEY = Context(key=CommandKey("key-1"), actor="ann")


class TillId(Id):
    pass


class Charged(Event):
    amount: int


class Refused(Event):
    pass


class Till(Aggregate[TillId]):
    charges: int = 0
    total: int = 0
    refusals: int = 0

    def apply(self, event: Charged | Refused) -> None:
        match event:
            case Charged(amount=amount):
                self.charges += 1
                self.total += amount
            case Refused():
                self.refusals += 1


class Receipt(Value):
    number: int
    code: Secret


class Busy(TooManyAttempts):
    """The till is busy."""

    keeps_changes = True


class Options(Value):
    note: str = ""
    tags: tuple[str, ...] = ()


PLAIN = Options()


class Empty(Conflict):
    """The till is empty."""


class Locked(Conflict):
    """The till is locked."""

    code_to_open: Secret


class Tills(Api):
    @command
    async def charge(self, till: TillId, amount: int, options: Options = PLAIN) -> int:
        """Charge something."""

    @command
    async def charge_secretly(self, till: TillId, amount: int) -> Receipt:
        """Charge something; the answer holds a secret."""

    @command
    async def try_charge(self, till: TillId, amount: int) -> int:
        """Be refused for a while."""

    @command
    async def take_all(self, till: TillId) -> int:
        """Empty the till; be refused when it is empty."""

    @command
    async def unlock(self) -> None:
        """Be refused with a secret."""

    @query
    async def charges(self, till: TillId) -> int:
        """How often something was charged."""


class TillService(Tills):
    busy: ClassVar[int] = 0

    def __init__(self, tills: Repository[Till], gate: Gate) -> None:
        self._tills = tills
        self._gate = gate

    async def charge(self, till: TillId, amount: int, options: Options = PLAIN) -> int:
        found = await self._tills.find_or_add(till)
        await self._gate.pass_through()
        found.record(Charged(amount=amount))
        return found.charges

    async def charge_secretly(self, till: TillId, amount: int) -> Receipt:
        return Receipt(number=await self.charge(till, amount), code=Secret("sesame"))

    async def unlock(self) -> None:
        raise Locked(code_to_open=Secret("sesame"))

    async def try_charge(self, till: TillId, amount: int) -> int:
        found = await self._tills.find_or_add(till)
        if found.refusals < 2 + self.busy:
            found.record(Refused())
            raise Busy(retry_after=1)
        found.record(Charged(amount=amount))
        return found.charges

    async def take_all(self, till: TillId) -> int:
        found = await self._tills.get(till)
        await self._gate.pass_through()
        if found.total == 0:
            raise Empty()
        found.record(Charged(amount=-found.total))
        return found.charges

    async def charges(self, till: TillId) -> int:
        found = await self._tills.find(till)
        return 0 if found is None else found.charges


def tills(gate: Gate | None = None) -> Module:
    return Module("tills", api=Tills, service=TillService, provides={Gate: gate or Gate()})


@pytest.fixture
async def shop(start: StartApp, gate: Gate) -> App:
    return await start(tills(gate))


@pytest.fixture
async def other_shop(start: StartApp, shop: App) -> App:
    return await start(tills())


@pytest.fixture
def till() -> TillId:
    return TillId.new()


# --- the same request ------------------------------------------------------------------------------------------------


def tills_with_a_tip() -> Module:
    """The module as a later version of the program has it."""

    class MoreOptions(Value):
        note: str = ""
        tags: tuple[str, ...] = ()
        colour: str = "red"

    plain = MoreOptions()

    class Tills(Api):
        @command
        async def charge(self, till: TillId, amount: int, options: MoreOptions = plain, *, tip: int = 0) -> int: ...

        @query
        async def charges(self, till: TillId) -> int: ...

    class Service(Tills):
        def __init__(self, tills: Repository[Till]) -> None:
            self._tills = tills

        async def charge(self, till: TillId, amount: int, options: MoreOptions = plain, *, tip: int = 0) -> int:
            found = await self._tills.find_or_add(till)
            found.record(Charged(amount=amount + tip))
            return found.charges

        async def charges(self, till: TillId) -> int:
            return (await self._tills.get(till)).charges

    return Module("tills", api=Tills, service=Service)


class TestARequest:
    async def test_is_the_same_after_a_deploy_that_has_added_an_optional_parameter(
        self, shop: App, start: StartApp, till: TillId
    ) -> None:
        await ask(shop, Tills.charge, till, 5, options=Options(tags=("a",)), context=KEY)
        later = await start(tills_with_a_tip())
        charge: Any = later.modules["tills"].api.operations["charge"]
        options = charge.parameters["options"](tags=("a",))

        again = await later.call(charge, charge.bind((till, 5), {"options": options}), KEY)

        assert (again.result, again.replayed) == (1, True)
        with pytest.raises(KeyReused):
            await later.call(charge, charge.bind((till, 5), {"options": options, "tip": 1}), KEY)

    async def test_that_an_older_version_of_the_toolkit_has_answered_is_known_by_its_key(
        self, shop: App, till: TillId
    ) -> None:
        await ask(shop, Tills.charge, till, 5, context=KEY)
        (old,) = [await shop.running["tills"].store.find_result('[null,"ann","Tills.charge"]', "key-1")]
        assert old is not None
        older = replace(old, key="key-0", fingerprint="00112233445566778899aabbccddeeff")
        await shop.running["tills"].store.write([Changeset(result=older)])

        again = await ask(shop, Tills.charge, till, 5, context=Context(key=CommandKey("key-0"), actor="ann"))

        assert (again.result, again.replayed) == (1, True)

    def test_is_another_one_when_any_argument_differs(self, till: TillId) -> None:
        charge = Tills.operations["charge"]
        requests: list[dict[str, Any]] = [
            {"amount": 1},
            {"amount": True},
            {"amount": 2},
            {"amount": 1, "options": Options(note="a")},
            {"amount": 1, "options": Options(tags=("a",))},
            {"amount": 1, "options": Options(tags=("a", ""))},
        ]

        assert len({charge.fingerprint(charge.bind((till,), each)) for each in requests}) == len(requests)

    def test_is_the_same_after_a_deploy_that_has_added_a_default_to_what_it_is_given(self) -> None:
        before, after = [Tip("a"), NamedTip("a")], [LaterTip("a"), LaterNamedTip("a")]

        assert [canonical(value) for value in before] == [canonical(value) for value in after]


@dataclass
class Tip:
    note: str


@dataclass
class LaterTip:
    note: str
    colours: list[str] = field(default_factory=list)
    colour: str = "red"


class NamedTip(NamedTuple):
    note: str


class LaterNamedTip(NamedTuple):
    note: str
    colour: str = "red"


class Forgetful(Saga):
    """Makes a new id each time it tries."""

    trip: TripId
    place: str = ""

    @step(retry=QUICK)
    async def seat(self, desk: Desk) -> None:
        self.place = f"seat-{TripId.new()}"[:60]
        await desk.book(self.trip, self.place[:12])

    @seat.undo(retry=QUICK)
    async def leave_seat(self, desk: Desk) -> None:
        await desk.cancel(self.trip, self.place[:12])


class ForgetfulPivot(Saga):
    """Makes a new id each time it tries, where there is no way back."""

    trip: TripId

    @step(pivot=True, retry=QUICK)
    async def seat(self, desk: Desk) -> None:
        await desk.book(self.trip, f"seat-{TripId.new()}"[-12:])


class Steady(Saga):
    """A step whose answer gets lost."""

    trip: TripId
    booking: BookingId | None = None

    @step(retry=QUICK)
    async def seat(self, desk: Desk) -> None:
        self.booking = await desk.book(self.trip, "seat")

    @seat.undo(retry=QUICK)
    async def leave_seat(self, desk: Desk) -> None:
        await desk.cancel(self.trip, "seat")


class TestASaga:
    @pytest.mark.parametrize("kind", [Forgetful, ForgetfulPivot])
    async def test_whose_step_asks_for_something_else_each_time_is_stuck_with_a_sentence(
        self, open_office: OpenOffice, weather: Weather, kind: type[Saga]
    ) -> None:
        office = await open_office(kind)
        operation = Desk.operations["book"]
        trip = TripId.new()
        context = Context(actor="ada", tenant="acme", key=CommandKey(f"§{trip}/seat/Desk.book#1"))
        await office.app.call(operation, operation.bind((trip, "as-the-first-try"), {}), context)

        await office.begin(trip)

        saga = await office.at_rest(trip, Status.STUCK)
        assert "gave Desk.book with other arguments than when it was tried before" in office.step(saga, "seat").error
        assert await office.booked(trip, "as-the-first-try") == {"as-the-first-try": 1}
        assert not [call for call in weather.calls if call.startswith("undo")]

    async def test_goes_on_with_what_its_first_try_did(self, open_office: OpenOffice, weather: Weather) -> None:
        office = await open_office(Steady)
        weather.lost["seat"] = 1

        trip = await office.begin()

        await office.at_rest(trip, Status.COMPLETED)
        assert await office.booked(trip, "seat") == {"seat": 1}

    async def test_tries_again_what_is_refused_for_now_only(self, open_office: OpenOffice, weather: Weather) -> None:
        office = await open_office(Steady)
        weather.plan("seat", TooManyAttempts(retry_after=1))

        trip = await office.begin()

        await office.at_rest(trip, Status.COMPLETED)
        assert await office.booked(trip, "seat") == {"seat": 1}


# --- answers that are secret -----------------------------------------------------------------------------------------

T = TypeVar("T")
Token = NewType("Token", Secret)


@dataclass
class InDataclass:
    secret: Secret


class InTypedDict(TypedDict):
    secret: Secret


class InNamedTuple(NamedTuple):
    secret: Secret


class InGeneric(msgspec.Struct, Generic[T]):
    secret: Secret
    content: T


class InItself(Value):
    secret: Secret | None = None
    inner: "InItself | None" = None


@pytest.mark.parametrize(
    "kind",
    [
        Token,
        list[Token],
        InDataclass,
        InTypedDict,
        InNamedTuple,
        InGeneric[int],
        InItself,
        dict[str, tuple[int, Annotated[InItself, "a note"]]],
        dict[Secret, int],
    ],
)
def test_a_type_that_may_hold_a_secret_is_known_in_whatever_it_is_wrapped(kind: Any) -> None:
    assert holds_secrets(kind)


class TestACommandThatAnswersASecret:
    async def test_has_one_effect_under_one_key(self, shop: App, till: TillId) -> None:
        first = await ask(shop, Tills.charge_secretly, till, 5, context=KEY)

        with pytest.raises(AnswerNotKept, match="was carried out before"):
            await ask(shop, Tills.charge_secretly, till, 5, context=KEY)

        assert first.result.number == await shop.api(Tills).charges(till) == 1

    async def test_leaves_nothing_of_its_answer_in_the_store(self, shop: App, till: TillId) -> None:
        await ask(shop, Tills.charge_secretly, till, 5, context=KEY)

        rows = await shop.running["tills"].store.fetch(_all_results(shop))
        assert [row["outcome"] for row in rows]
        assert not [row for row in rows if "sesame" in row["outcome"]]

    async def test_that_was_never_given_is_only_settled_not_carried_out(self, shop: App, till: TillId) -> None:
        for _ in range(2):
            with pytest.raises(Overtaken):
                await ask(
                    shop, Tills.charge_secretly, till, 5, context=Context(key=CommandKey("settled", settles=True))
                )

        assert await shop.api(Tills).charges(till) == 0
        with pytest.raises(Overtaken):
            await ask(shop, Tills.charge_secretly, till, 5, context=Context(key=CommandKey("settled")))

    async def test_that_was_carried_out_is_known_to_have_run_when_it_is_settled(self, shop: App, till: TillId) -> None:
        await ask(shop, Tills.charge_secretly, till, 5, context=Context(key=CommandKey("settled")))

        with pytest.raises(AnswerNotKept):
            await ask(shop, Tills.charge_secretly, till, 5, context=Context(key=CommandKey("settled", settles=True)))


class TestARefusalThatHoldsASecret:
    async def test_is_given_once_and_leaves_nothing_of_it_in_the_store(self, shop: App) -> None:
        with pytest.raises(Locked) as refusal:
            await ask(shop, Tills.unlock, context=KEY)
        assert refusal.value.code_to_open.reveal() == "sesame"

        with pytest.raises(RefusedBefore) as again:
            await ask(shop, Tills.unlock, context=KEY)

        assert again.value.reason == "locked"
        rows = await shop.running["tills"].store.fetch(_all_results(shop))
        assert [row["outcome"] for row in rows]
        assert not [row for row in rows if "sesame" in row["outcome"]]


def _all_results(app: App) -> Any:
    store: Any = app.running["tills"].store
    schema = getattr(store, "_schema", "")
    return Statement(f"SELECT outcome FROM {schema + '.' if schema else ''}results", {})


# --- refusals that aren't kept ---------------------------------------------------------------------------------------


class TestARefusalForNow:
    async def test_is_not_the_answer_to_its_key(self, shop: App, till: TillId) -> None:
        for _ in range(2):
            with pytest.raises(Busy) as refusal:
                await ask(shop, Tills.try_charge, till, 5, context=KEY)
            assert not getattr(refusal.value, "replayed", False)

        answers = [await ask(shop, Tills.try_charge, till, 5, context=KEY) for _ in range(2)]

        assert [(answer.result, answer.replayed) for answer in answers] == [(1, False), (1, True)]


class TestTheSameMessageInTwoProcesses:
    async def test_is_answered_with_what_the_first_has_done(
        self, shop: App, other_shop: App, gate: Gate, till: TillId
    ) -> None:
        await shop.api(Tills).charge(till, 5)
        gate.shut()

        async def take(app: App) -> int:
            with once("letter/1"):
                return await app.api(Tills).take_all(till)

        slow = asyncio.create_task(take(shop))
        await gate.reached.wait()
        first = await take(other_shop)
        gate.open()

        assert await slow == first == 2


async def test_a_key_that_the_store_calls_taken_may_have_been_carried_out_whatever_else_is_known(
    shop: App, till: TillId, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(shop, Tills.charge, till, 5, context=KEY)

    async def find_result(scope: str, key: str) -> None:
        raise StoreUnavailable("The store can't be read.", maybe_executed=False)

    monkeypatch.setattr(shop.running["tills"].store, "find_result", find_result)

    with pytest.raises(Unavailable) as unavailable:
        await ask(shop, Tills.charge, till, 5, context=KEY)

    assert unavailable.value.maybe_executed


async def test_a_repeated_request_leaves_nothing_behind_even_if_it_would_be_refused_for_a_while_now(
    shop: App, till: TillId, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        with pytest.raises(Busy):
            await shop.api(Tills).try_charge(till, 5)
    first = await ask(shop, Tills.try_charge, till, 5, context=KEY)
    before = len(await shop.running["tills"].store.read_stream(f"till-{till}", limit=10))
    monkeypatch.setattr(TillService, "busy", 5)

    assert (await ask(shop, Tills.try_charge, till, 5, context=KEY)).result == first.result
    assert len(await shop.running["tills"].store.read_stream(f"till-{till}", limit=10)) == before


class TestFindOrAdd:
    async def test_never_says_that_it_exists_already_whatever_becomes_of_the_first_callers(
        self, start: StartApp, gate: Gate
    ) -> None:
        shop = await start(tills(gate))
        tills_module = shop.running["tills"]

        for _ in range(5):
            till = TillId.new()
            async with tills_module._committer.paused():
                hurried = Context(deadline=asyncio.get_running_loop().time() + 0.05)
                first = asyncio.create_task(ask(shop, Tills.charge, till, 1, context=hurried))
                others = [asyncio.create_task(shop.api(Tills).charge(till, 1)) for _ in range(5)]
                with pytest.raises(DeadlineExceeded):
                    await first
            answers = sorted(await asyncio.gather(*others))
            charges = len(await tills_module.store.read_stream(f"till-{till}", limit=10))
            assert answers == list(range(charges - 4, charges + 1))

    async def test_of_two_processes_at_once_adds_once(self, shop: App, other_shop: App, till: TillId) -> None:
        apps = [shop, other_shop] * 5

        answers = await asyncio.gather(*(app.api(Tills).charge(till, 1) for app in apps))

        assert sorted(answers) == list(range(1, 11))


async def test_what_a_caller_no_longer_waits_for_is_still_what_the_next_one_builds_on(
    app: App, api: Bank, clock: Clock
) -> None:
    account = await api.open("Ann", "ann@example.org")
    committer = app.running["bank"]._committer
    async with committer.paused():
        waiting = asyncio.create_task(api.deposit(account, 5))
        while not committer._queue:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        next_one = asyncio.create_task(api.deposit(account, 1))
        await asyncio.sleep(0.01)

    assert await next_one == 6
