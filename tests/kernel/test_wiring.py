"""What is put together wrongly is refused at start, in a sentence that says what and where."""

from collections.abc import AsyncIterator
from datetime import date
from typing import Annotated, Any

import pytest
from msgspec import Meta

from craton.application import (
    Api,
    Index,
    Key,
    Module,
    Policy,
    Projection,
    Repository,
    Row,
    Rows,
    View,
    WiringError,
    command,
    query,
)
from craton.application.codec import unencodable
from craton.application.rows import RowDefinition
from craton.domain import Aggregate, Event, Money, Recorded
from craton.ports import Store
from craton.runtime import App
from tests.conftest import SqlitePlace
from tests.kernel.bank import (
    Account,
    AccountId,
    BalanceRow,
    Balances,
    Bank,
    BankService,
    Gate,
    MoneyDeposited,
    Owners,
    bank,
)


class Small(Api):
    @query
    async def ask(self, number: int) -> int: ...


class SmallService(Small):
    async def ask(self, number: int) -> int:
        return number


class Bounded(Api):
    @query
    async def ask(self, number: Annotated[int, Meta(ge=1)]) -> int: ...


class Stored(Row):
    account: Key[AccountId]
    balance: Index[int]


class Gone(Event):
    pass


def small(name: str = "small", service: type[Small] = SmallService, **parts: Any) -> Module:
    return Module(name, api=Small, service=service, **parts)


class TestAModule:
    @pytest.mark.parametrize("name", ["Bank", "my bank", "bank-1", "bänk", "1bank", "x" * 41])
    def test_has_a_name_that_every_store_can_bear(self, name: str) -> None:
        with pytest.raises(WiringError, match="must be a short lower-case word"):
            small(name)

    @pytest.mark.parametrize("statement", ["CREATE TABLE readers (x int)", 'create view  "Layout" AS SELECT 1'])
    def test_has_no_table_with_the_name_of_one_of_the_toolkit(self, statement: str) -> None:
        with pytest.raises(
            WiringError, match=r"module small: its table (readers|Layout) has the name of a table of Craton"
        ):
            small(tables=[statement])

    def test_has_a_service_that_implements_its_api(self) -> None:
        with pytest.raises(WiringError, match="module bank: SmallService doesn't implement Bank"):
            Module("bank", api=Bank, service=SmallService)

    def test_has_a_service_with_all_methods(self) -> None:
        class Lazy(Small):
            pass

        with pytest.raises(WiringError, match="module small: Lazy has no ask"):
            small(service=Lazy)  # type: ignore[type-abstract]

    def test_has_a_service_whose_methods_are_those_of_its_api(self) -> None:
        class Renamed(Small):
            async def ask(self, n: int) -> int:
                return n

        class Narrower(Small):
            async def ask(self, number: bool) -> int:  # type: ignore[override]
                return number

        class Wider(Small):
            async def ask(self, number: int = 1) -> int:
                return number

        class Other(Small):
            async def ask(self, number: int) -> str:  # type: ignore[override]
                return str(number)

        class AtOnce(Small):
            def ask(self, number: int) -> int:  # type: ignore[override]
                return number

        said: dict[Any, str] = {
            Renamed: r"Renamed\.ask takes \(n\), and Small\.ask says \(number\)",
            Narrower: r"Narrower\.ask takes 'number' as bool, and Small\.ask says int",
            Wider: r"Wider\.ask takes \(number=1\), and Small\.ask says \(number\)",
            Other: r"Other\.ask returns str, and Small\.ask says int",
            AtOnce: r"AtOnce\.ask must be an async method",
        }
        for service, sentence in said.items():
            with pytest.raises(WiringError, match=sentence):
                small(service=service)

    def test_has_a_service_that_leaves_to_the_api_what_a_value_may_be(self) -> None:
        class Plain(Bounded):
            async def ask(self, number: int) -> int:
                return number

        Module("bounded", api=Bounded, service=Plain)

    def test_says_which_parameter_of_its_service_lacks_an_annotation(self) -> None:
        class Vague(SmallService):
            def __init__(self, thing) -> None:  # type: ignore[no-untyped-def]
                self.thing = thing

        with pytest.raises(WiringError, match="module small: Vague: parameter 'thing' has no annotation"):
            small(service=Vague)

    def test_keeps_the_rows_that_its_service_reads(self) -> None:
        class Reading(SmallService):
            def __init__(self, rows: View[BalanceRow]) -> None:
                self.rows = rows

        (problem,) = App("bank", modules=[small(service=Reading)]).wiring.problems()

        assert problem == "module small: Reading asks for rows: no projection keeps BalanceRow"

    def test_keeps_each_kind_of_row_in_one_projection(self) -> None:
        class Again(Projection):
            rows_: Rows[BalanceRow]

            def project(self, event: Recorded[MoneyDeposited]) -> None: ...

        with pytest.raises(WiringError, match="BalanceRow is kept by two projections"):
            bank(projections=[Balances, Owners, Again])

    def test_projects_no_events_that_no_module_records(self) -> None:
        class Foreign(Projection):
            stored: Rows[Stored]

            def project(self, event: Recorded[Gone]) -> None: ...

        with pytest.raises(WiringError, match="app bank: Foreign projects Gone, which no module records"):
            App("bank", modules=[bank(projections=[Balances, Owners, Foreign])])

    def test_projects_no_events_of_two_logs(self) -> None:
        class Both(Projection):
            stored: Rows[Stored]

            def project(self, event: Recorded[Gone | MoneyDeposited]) -> None: ...

        with pytest.raises(WiringError, match="Both projects Gone, which none of its aggregates applies; a projection"):
            bank(projections=[Balances, Owners, Both])

    def test_names_the_projection_that_does_not_say_its_events_or_rows(self) -> None:
        class NoRows(Projection):
            def project(self, event: Recorded[MoneyDeposited]) -> None: ...

        class NoEvents(Projection):
            stored: Rows[Stored]

            def project(self, event: MoneyDeposited) -> None: ...

        with pytest.raises(WiringError, match="projection NoRows keeps no rows"):
            small(projections=[NoRows])
        with pytest.raises(WiringError, match=r"NoEvents.project must take event: Recorded"):
            small(projections=[NoEvents])


class TestARow:
    """Its columns have names that every store keeps apart."""

    def test_has_no_column_whose_name_is_cut_off(self) -> None:
        name = "b" * 64
        row = type("LongRow", (Row,), {"__annotations__": {"id": Key[str], name: Index[str]}})

        with pytest.raises(WiringError, match=f"LongRow.{name} can't be a column: its name has 64 bytes"):
            RowDefinition(row)

    def test_has_no_column_whose_name_is_cut_off_counted_in_bytes(self) -> None:
        row = type("LongRow", (Row,), {"__annotations__": {"id": Key[str], "ö" * 32: Index[str]}})

        with pytest.raises(WiringError, match="its name has 64 bytes"):
            RowDefinition(row)

    def test_has_no_two_columns_that_differ_in_case_alone(self) -> None:
        row = type("TwoRow", (Row,), {"__annotations__": {"id": Key[str], "Name": Index[str], "name": Index[str]}})

        with pytest.raises(WiringError, match="TwoRow: Name and name can't both be columns"):
            RowDefinition(row)

    @pytest.mark.parametrize("name", ["row", "ROW"])
    def test_has_no_column_called_row(self, name: str) -> None:
        row = type("OddRow", (Row,), {"__annotations__": {"id": Key[str], name: Index[str]}})

        with pytest.raises(WiringError, match="that is where the row itself is kept"):
            RowDefinition(row)

    @pytest.mark.parametrize("length", [10, 45, 46, 50, 51, 52, 53, 60, 100])
    def test_has_tables_that_no_two_generations_share_however_long_its_name(self, length: int) -> None:
        rows: list[RowDefinition[Any]] = [
            RowDefinition(type("R" * length + last, (Row,), {"__annotations__": {"id": Key[str]}}))
            for last in ("x", "y")
        ]
        names = [row.table(generation).name for row in rows for generation in (1, 2, 10, 12, 99_999)]

        assert len({name.encode()[:63] for name in names}) == len(names)


class TestAnApi:
    def test_annotates_every_parameter_and_result(self) -> None:
        with pytest.raises(WiringError, match=r"Bad.ask: parameter 'number' has no annotation"):

            class Bad(Api):
                @query
                async def ask(self, number) -> int:  # type: ignore[no-untyped-def]
                    ...

            _ = Bad.operations

        with pytest.raises(WiringError, match=r"Worse.ask: the result has no annotation"):

            class Worse(Api):
                @command
                async def ask(self, number: int):  # type: ignore[no-untyped-def]
                    ...

            _ = Worse.operations

    def test_marks_every_method_that_others_may_call(self) -> None:
        with pytest.raises(WiringError, match=r"Forgetful\.ask is neither a @command nor a @query; mark it as one"):

            class Forgetful(Api):
                async def ask(self) -> int:
                    return 1

    def test_has_async_methods(self) -> None:
        with pytest.raises(WiringError, match=r"Hasty\.ask: must be an async method"):

            class Hasty(Api):
                @query
                def ask(self) -> int: ...

            _ = Hasty.operations

    def test_names_every_parameter(self) -> None:
        with pytest.raises(WiringError, match=r"Bad.ask: \*numbers can't be sent"):

            class Bad(Api):
                @query
                async def ask(self, *numbers: int) -> int: ...

            _ = Bad.operations

    def test_whose_values_can_not_be_sent_is_a_problem(self) -> None:
        class Odd(Api):
            @query
            async def ask(self, gate: Gate) -> int: ...

        class OddService(Odd):
            async def ask(self, gate: Gate) -> int:
                return 1

        (problem,) = App("test", modules=[Module("odd", api=Odd, service=OddService)]).wiring.problems()

        assert "Odd.ask: parameter 'gate' can't be encoded" in problem

    @pytest.mark.parametrize(
        "kind", [dict[bool, int], dict[tuple[int, int], int], list[dict[Money, int]], dict[object, int]]
    )
    def test_whose_keys_could_never_be_read_back_is_a_problem(self, kind: Any) -> None:
        assert unencodable(kind)

    @pytest.mark.parametrize("kind", [dict[Any, int], dict[AccountId, int], dict[int | None, int], dict[date, int]])
    def test_whose_keys_can_be_read_back_is_none(self, kind: Any) -> None:
        assert unencodable(kind) is None


class TestAnAggregate:
    def test_has_no_field_with_a_meaning_of_its_own(self) -> None:
        with pytest.raises(TypeError, match=r"Bad.version has a meaning of its own"):

            class Bad(Aggregate[Any]):
                version: int


class TestAnApp:
    def test_has_modules_of_different_names(self) -> None:
        with pytest.raises(WiringError, match="app test: two modules have the same name"):
            App("test", modules=[small(), small()])

    def test_has_one_module_for_each_api(self) -> None:
        with pytest.raises(WiringError, match="Small"):
            App("test", modules=[small("one"), small("two")])

    def test_gives_no_proxy_of_what_no_module_provides(self) -> None:
        with pytest.raises(WiringError, match="app test: no module provides Bank"):
            App("test", modules=[small()]).api(Bank)

    async def test_that_does_not_run_answers_no_call(self) -> None:
        with pytest.raises(WiringError, match=r"Small.ask was called while the app is not running"):
            await App("test", modules=[small()]).api(Small).ask(1)

    def test_has_one_module_that_records_what_a_policy_reacts_to(self) -> None:
        class Keeper(SmallService):
            def __init__(self, accounts: Repository[Account]) -> None: ...

        class Listening(Policy):
            async def react(self, event: Recorded[MoneyDeposited]) -> None: ...

        App("test", modules=[bank(), small(service=Keeper)])
        with pytest.raises(WiringError, match=r"MoneyDeposited, which the modules bank and small both record; each"):
            App("test", modules=[bank(), small(service=Keeper, policies=[Listening])])

    async def test_names_what_a_part_of_a_module_may_not_have(self, sqlite_place: SqlitePlace) -> None:
        class Reading(Policy):
            async def react(self, event: Recorded[MoneyDeposited], log: AsyncIterator[Recorded[Event]]) -> None: ...

        class Writing(Policy):
            async def react(self, event: Recorded[MoneyDeposited], accounts: Repository[Account]) -> None: ...

        app = App("test", modules=[bank(), small(policies=[Reading, Writing])])

        assert [problem for problem in app.wiring.problems() if "module small" in problem] == [
            "module small: Reading asks for log, but only `start` and `verify` read the log; the others are told of "
            "events one by one",
            "module small: Writing asks for accounts, but only the service changes aggregates; ask for an Api and call "
            "its command",
        ]
        with pytest.raises(WiringError, match="Reading asks for log"):
            async with app.run(sqlite_place):
                pass

    async def test_names_what_nothing_provides(self, sqlite_place: SqlitePlace) -> None:
        module = Module(
            "bank",
            api=Bank,
            service=BankService,
            projections=[read_model.kind for read_model in bank().projections.values()],
        )
        app = App("test", modules=[module])

        assert [problem for problem in app.wiring.problems() if "gate" in problem]
        with pytest.raises(WiringError, match="module bank: BankService asks for gate: Gate, which nothing provides"):
            async with app.run(sqlite_place):
                pass

    async def test_that_can_not_start_closes_what_it_has_opened(self, sqlite_place: SqlitePlace) -> None:
        opened: list[Store] = []
        closed: list[Store] = []

        def observed(name: str) -> Store:
            store = sqlite_place(name)
            opening, closing = store.open, store.close

            async def open_store(*, upgrade: bool = True) -> None:
                await opening(upgrade=upgrade)
                opened.append(store)

            async def close_store() -> None:
                closed.append(store)
                await closing()

            store.open, store.close = open_store, close_store  # type: ignore[method-assign]
            return store

        app = App("test", modules=[bank(), small(tables=["CREATE TABLE nonsense"])])

        with pytest.raises(WiringError, match="module small: its tables can't be made"):
            async with app.run(observed):
                pass

        assert len(opened) == 2
        assert set(map(id, closed)) == set(map(id, opened))
