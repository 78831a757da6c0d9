"""The log as operators look at it: events of all modules, newest first, and a stream as it was."""

from datetime import timedelta
from random import Random
from typing import Any

import pytest

from craton.application.context import Context, entered
from craton.domain import Secret, uuid7
from craton.ports import Append, Changeset, NewEvent, Store
from craton.runtime import App
from craton.runtime.committer import write_alone
from craton.runtime.operations.api import Change, Operations
from craton.runtime.operations.refusals import (
    AmbiguousStream,
    BadCursor,
    ModuleNotFound,
    StreamNotFound,
    UnreadableStream,
)
from tests.kernel.bank import AccountId, Bank, bank
from tests.kernel.conftest import Clock, StartApp
from tests.kernel.jars import JarId, Jars, Totals, jars
from tests.kernel.operators import OLGA, SafeId, Safes, act, pages_of_events, safes


@pytest.fixture
async def service(start: StartApp, clock: Clock) -> App:
    """Three modules, with nothing going on in the background."""
    return await start(bank(), jars(), safes(), clock=clock)


async def put(app: App, jar: JarId, amount: int = 1, **context: Any) -> None:
    with entered(Context(**context)):
        await app.api(Jars).put(jar, amount)


class TestEvents:
    async def test_of_all_modules_come_newest_first(self, service: App, clock: Clock) -> None:
        jar, safe = JarId.new(), SafeId.new()
        await put(service, jar)
        clock.forward(seconds=1)
        account = await service.api(Bank).open("Ada", "ada@x")
        clock.forward(seconds=1)
        await service.api(Safes).set_code(safe, "Ada", Secret("sesame"))
        clock.forward(seconds=1)
        await put(service, jar, 2)

        found = await service.operations.events()

        assert [(event.module, event.stream, event.version, event.type) for event in found.events] == [
            ("jars", f"jar-{jar}", 2, "CoinPut"),
            ("safes", f"safe-{safe}", 1, "CodeSet"),
            ("bank", f"account-{account}", 1, "AccountOpened"),
            ("jars", f"jar-{jar}", 1, "CoinPut"),
        ]
        assert (found.events[0].data, found.events[0].time, found.next) == ({"amount": 2}, clock.time, "")

    async def test_may_be_those_of_one_module_type_stream_actor_or_correlation(self, service: App) -> None:
        jar, other, safe = JarId.new(), JarId.new(), SafeId.new()
        await put(service, jar, actor="ada", correlation="one")
        await put(service, other, actor="bob", correlation="two")
        await service.api(Jars).stick(jar, "savings")
        await service.api(Safes).set_code(safe, "Ada", Secret("sesame"))

        async def found(**wanted: Any) -> list[tuple[str, int]]:
            events = (await service.operations.events(**wanted)).events
            return sorted((event.module, event.position) for event in events)

        assert await found() == [("jars", 1), ("jars", 2), ("jars", 3), ("safes", 1)]
        assert await found(module="safes") == [("safes", 1)]
        assert await found(type="CoinPut") == [("jars", 1), ("jars", 2)]
        assert await found(stream=f"jar-{jar}") == [("jars", 1), ("jars", 3)]
        assert await found(actor="bob") == [("jars", 2)]
        assert await found(correlation="one") == [("jars", 1)]
        assert await found(stream=f"jar-{jar}", type="CoinPut", actor="ada", correlation="one") == [("jars", 1)]
        assert await found(stream=f"jar-{jar}", actor="bob") == []
        assert await found(module="bank") == []

    async def test_may_be_those_from_a_time_and_before_another(self, service: App, clock: Clock) -> None:
        jar, times = JarId.new(), [clock.time]
        for _ in range(3):
            await put(service, jar)
            times.append(clock.forward(seconds=1))

        async def versions(**wanted: Any) -> list[int]:
            return [event.version for event in (await service.operations.events(**wanted)).events]

        assert await versions(from_=times[1]) == [3, 2]
        assert await versions(to=times[1]) == [1]
        assert await versions(from_=times[1], to=times[2]) == [2]
        assert await versions(from_=times[3]) == []

    async def test_are_shown_with_their_secrets_masked_and_without_the_key_of_their_request(self, service: App) -> None:
        safe = SafeId.new()
        with entered(Context(actor="ada")):
            await service.api(Safes).set_code(safe, "Ada", Secret("sesame"))
        await act(service, Operations.rebuild_projection, "balances", under="a-key")

        changed, code = (await service.operations.events()).events

        assert code.data == {"owner": "Ada", "code": "***"}
        assert code.metadata["actor"] == "ada"
        assert (changed.type, "key" in changed.metadata) == ("OperatorActed", False)

    async def test_that_this_program_cannot_read_are_shown_without_data(self, service: App) -> None:
        await append_unreadable(service.running["jars"].store, "jar-1")

        (event,) = (await service.operations.events()).events

        assert (event.stream, event.type, event.data) == ("jar-1", "CoinPut", None)

    async def test_of_a_module_that_there_is_not_are_refused(self, service: App) -> None:
        with pytest.raises(ModuleNotFound):
            await service.operations.events(module="shop")


async def append_unreadable(store: Store, stream: str) -> None:
    event = NewEvent(stream, 1, uuid7(), "CoinPut", 1, '{"amount":"many"}', "{}", Clock().time)
    await write_alone(store, Changeset(appends=[Append(stream, 0, [event])]))


class TestPagesOfEvents:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("steady", [True, False], ids=["a clock that goes on", "a clock that is set back"])
    async def test_lose_and_double_nothing_whatever_their_size(
        self, service: App, clock: Clock, seed: int, steady: bool
    ) -> None:
        random = Random(seed)
        for _ in range(15):
            match random.randrange(3):
                case 0:
                    await put(service, JarId.new())
                case 1:
                    await service.api(Safes).set_code(SafeId.new(), "Ada", Secret("sesame"))
                case _:
                    await service.api(Bank).open_as(AccountId.new(), "Ada")
            clock.forward(seconds=random.randrange(0 if steady else -2, 3))

        for limit in range(1, 17):
            found = await pages_of_events(service, limit)

            assert len({event.id for event in found}) == len(found) == 15
            for module in service.running:
                positions = [event.position for event in found if event.module == module]
                assert positions == sorted(positions, reverse=True)
            if steady:
                times = [event.time for event in found]
                assert times == sorted(times, reverse=True)

    async def test_do_not_show_what_has_come_since_the_first(self, service: App) -> None:
        jar = JarId.new()
        for _ in range(4):
            await put(service, jar)
        first = await service.operations.events(limit=2)
        await put(service, jar)

        second = await service.operations.events(limit=2, after=first.next)

        assert [event.version for event in (*first.events, *second.events)] == [4, 3, 2, 1]

    async def test_go_on_beyond_what_one_call_looks_at(self, service: App, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("craton.runtime.operations.log.MAX_SCANNED", 3)
        jar, other = JarId.new(), JarId.new()
        await put(service, jar)
        for _ in range(7):
            await put(service, other)
        wanted: dict[str, Any] = {"type": "CoinPut", "actor": "ada"}
        await put(service, jar, actor="ada")
        for _ in range(7):
            await put(service, other)

        first = await service.operations.events(**wanted)
        found = await pages_of_events(service, 50, **wanted)

        assert (first.events, first.next) == ((), "jars:14")
        assert [event.version for event in found] == [2]

    @pytest.mark.parametrize(
        "after",
        [
            *("x", "jars", "jars:", "jars:x", "jars:-1", "jars:0", "jars:1_0", "jars:²", "jars:1:2", "shop:1", ":1"),
            *("jars:1 jars:2", "jars:1  bank:1", " jars:1", "jars:1\n", f"jars:{2**63}", f"jars:{'9' * 5_000}"),
        ],
    )
    async def test_begin_only_where_an_answer_has_ended(self, service: App, after: str) -> None:
        with pytest.raises(BadCursor, match="must be the value of `next` in an earlier answer"):
            await service.operations.events(after=after)

    async def test_of_one_module_do_not_go_on_with_another(self, service: App) -> None:
        with pytest.raises(BadCursor):
            await service.operations.events(module="bank", after="jars:1")


class TestAStream:
    @pytest.fixture
    async def safe(self, service: App, clock: Clock) -> SafeId:
        """A safe whose code is set, which is opened after a minute, and whose code is changed a minute later."""
        safe, api = SafeId.new(), service.api(Safes)
        await api.set_code(safe, "Ada", Secret("sesame"))
        clock.forward(minutes=1)
        await api.open(safe)
        clock.forward(minutes=1)
        await api.set_code(safe, "Ada", Secret("abracadabra"))
        return safe

    async def test_is_shown_as_it_is_now_without_a_version(self, service: App, safe: SafeId) -> None:
        shown = await service.operations.stream(f"safe-{safe}")

        assert (shown.module, shown.kind, shown.stream) == ("safes", "Safe", f"safe-{safe}")
        assert (shown.version, shown.newest, shown.event.type) == (3, 3, "CodeSet")
        assert shown.state == {"owner": "Ada", "code": "***", "opened": 1}

    async def test_is_shown_as_it_was_at_a_version_with_what_the_event_changed(
        self, service: App, safe: SafeId
    ) -> None:
        shown = await service.operations.stream(f"safe-{safe}", version=2)

        assert (shown.version, shown.newest, shown.event.version) == (2, 3, 2)
        assert shown.state == {"owner": "Ada", "code": "***", "opened": 1}
        assert shown.changed == {"opened": Change(before=0, after=1)}

    async def test_shows_that_a_secret_changed_and_not_to_what(self, service: App, safe: SafeId) -> None:
        shown = await service.operations.stream(f"safe-{safe}")

        assert shown.changed == {"code": Change(before="***", after="***")}

    async def test_begins_with_nothing(self, service: App) -> None:
        account = await service.api(Bank).open("Ada", "ada@x")

        shown = await service.operations.stream(f"account-{account}", version=1)

        assert shown.changed == {"owner": Change(before=None, after="Ada")}
        assert shown.state == {"owner": "Ada", "balance": 0}

    async def test_is_shown_as_it_was_at_a_time(self, service: App, safe: SafeId, clock: Clock) -> None:
        began = clock.time - timedelta(minutes=2)

        async def version(**later: float) -> int:
            return (await service.operations.stream(f"safe-{safe}", at=began + timedelta(**later))).version

        assert [await version(), await version(seconds=59), await version(seconds=60)] == [1, 1, 2]
        assert await version(days=1) == 3
        with pytest.raises(StreamNotFound):
            await version(seconds=-1)

    async def test_that_is_long_is_shown_at_each_version(self, service: App, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("craton.runtime.operations.log.PAGE", 3)
        jar = JarId.new()
        for _ in range(7):
            await put(service, jar)

        for version in range(1, 8):
            shown = await service.operations.stream(f"jar-{jar}", version=version)
            assert (shown.version, shown.state["coins"]) == (version, version)
            assert shown.changed == {"coins": Change(before=version - 1, after=version)}

    @pytest.mark.parametrize(
        "stream", ["", "safe", "safe-", "safe-1", "safes-1", "nothing-1", "-", "safe-" + "x" * 900]
    )
    async def test_that_there_is_not_is_not_found(self, service: App, stream: str) -> None:
        with pytest.raises(StreamNotFound):
            await service.operations.stream(stream)

    async def test_at_a_version_that_there_is_not_is_not_found(self, service: App, safe: SafeId) -> None:
        with pytest.raises(StreamNotFound):
            await service.operations.stream(f"safe-{safe}", version=4)

    async def test_of_another_module_is_not_found(self, service: App, safe: SafeId) -> None:
        assert (await service.operations.stream(f"safe-{safe}", module="safes")).version == 3
        with pytest.raises(StreamNotFound):
            await service.operations.stream(f"safe-{safe}", module="jars")
        with pytest.raises(ModuleNotFound):
            await service.operations.stream(f"safe-{safe}", module="shop")

    async def test_that_two_modules_have_is_shown_of_the_module_that_is_named(self, start: StartApp) -> None:
        service = await start(bank(), jars(Totals))
        await act(service, Operations.rebuild_projection, "bank.balances")
        await act(service, Operations.rebuild_projection, "totals")

        with pytest.raises(AmbiguousStream, match=r"Several modules have a stream of this name: bank, jars\."):
            await service.operations.stream("operator_log-all")
        shown = await service.operations.stream("operator_log-all", module="jars")

        assert (shown.module, shown.event.metadata["actor"]) == ("jars", OLGA)

    async def test_that_this_program_cannot_read_is_refused_in_a_sentence(self, service: App) -> None:
        await append_unreadable(service.running["jars"].store, f"jar-{JarId.new()}")
        (event,) = (await service.operations.events()).events

        with pytest.raises(UnreadableStream, match="This program can't read the stream: "):
            await service.operations.stream(event.stream)

    async def test_whose_id_this_program_cannot_read_is_refused_in_a_sentence(self, service: App) -> None:
        await append_unreadable(service.running["safes"].store, "safe-not an id")

        with pytest.raises(UnreadableStream, match="This program can't read the stream: "):
            await service.operations.stream("safe-not an id")
