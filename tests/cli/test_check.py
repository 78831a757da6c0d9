"""`craton check` says now what would fail later. The wrong applications are written here, file by file."""

from pathlib import Path
from textwrap import dedent

import pytest

from tests.cli.conftest import craton

MODULE = """
    from craton.application import Api, Module, query
    from craton.domain import Name
    {imports}

    class {kind}(Api):
        @query
        async def hello(self, name: {parameter}) -> str:
            "Say hello."

    class Service({kind}):
        async def hello(self, name: {parameter}) -> str:
            return f"hello {{name}}"

    {name} = Module("{name}", api={kind}, service=Service)
"""


def write(folder: Path, path: str, text: str) -> None:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    for parent in file.relative_to(folder).parents:
        if parent != Path():
            (folder / parent / "__init__.py").touch()
    file.write_text(dedent(text), encoding="utf-8")


def module(folder: Path, name: str, *, parameter: str = "Name", imports: str = "") -> None:
    """A module of one query in a package of its own."""
    text = MODULE.format(name=name, kind=name.capitalize(), parameter=parameter, imports=imports)
    write(folder, f"wrong/{name}/module.py", text)


def app(folder: Path, *names: str) -> None:
    lines = ["from craton.runtime import App"]
    lines += [f"from wrong.{name}.module import {name}" for name in names]
    write(folder, "wrong/app.py", "\n".join([*lines, f'app = App("wrong", modules=[{", ".join(names)}])\n']))


def test_the_market_is_in_order() -> None:
    checked = craton("check")

    assert (checked.code, checked.err) == (0, "")
    assert "no problems found" in checked.out


def test_an_application_of_one_file_is_in_order(tmp_path: Path) -> None:
    text = MODULE.format(name="hello", kind="Hello", parameter="Name", imports="from craton.runtime import App")
    write(tmp_path, "single.py", dedent(text) + '\napp = App("single", modules=[hello])\n')

    checked = craton("check", "--app", "single:app", cwd=tmp_path)

    assert (checked.code, checked.err) == (0, "")


def test_what_another_modules_api_offers_may_be_imported(tmp_path: Path) -> None:
    write(tmp_path, "wrong/stock/api.py", "LIMIT = 5\n")
    module(tmp_path, "stock")
    module(tmp_path, "orders", imports="from wrong.stock.api import LIMIT")
    app(tmp_path, "stock", "orders")

    assert craton("check", "--app", "wrong.app:app", cwd=tmp_path).code == 0


def test_what_another_module_tells_in_its_events_may_be_imported(tmp_path: Path) -> None:
    write(tmp_path, "wrong/stock/events.py", "LIMIT = 5\n")
    module(tmp_path, "stock")
    module(tmp_path, "orders", imports="from wrong.stock.events import LIMIT")
    write(tmp_path, "wrong/orders/domain.py", "from wrong.stock.events import LIMIT\n")
    app(tmp_path, "stock", "orders")

    assert craton("check", "--app", "wrong.app:app", cwd=tmp_path).code == 0


@pytest.mark.parametrize(
    "imports",
    [
        "from wrong.stock.inside import LIMIT",
        "from wrong.stock import inside",
        "import wrong.stock.inside",
        "import wrong.stock.inside as hidden",
        "from ..stock.inside import LIMIT",
        "from ..stock import inside",
        "from .. import stock",
    ],
)
def test_an_import_of_another_modules_inside_is_found(tmp_path: Path, imports: str) -> None:
    write(tmp_path, "wrong/stock/inside.py", "LIMIT = 5\n")
    module(tmp_path, "stock")
    module(tmp_path, "orders", imports=imports)
    app(tmp_path, "stock", "orders")

    checked = craton("check", "--app", "wrong.app:app", cwd=tmp_path)

    assert checked.code == 1
    assert len(checked.lines) == 1
    assert "module orders imports wrong.stock" in checked.out
    assert "orders/module.py:" in checked.out


def test_an_import_that_is_hidden_in_a_function_is_found(tmp_path: Path) -> None:
    write(tmp_path, "wrong/stock/inside.py", "LIMIT = 5\n")
    module(tmp_path, "stock")
    module(tmp_path, "orders")
    write(tmp_path, "wrong/orders/late.py", "def late():\n    from wrong.stock.inside import LIMIT\n    return LIMIT\n")
    app(tmp_path, "stock", "orders")

    checked = craton("check", "--app", "wrong.app:app", cwd=tmp_path)

    assert checked.code == 1
    assert "orders/late.py:2" in checked.out


@pytest.mark.parametrize(
    "imports",
    [
        "import msgspec",
        "from craton.application import Api",
        "from wrong import shared",
        "from wrong.stock.api import X",
    ],
)
@pytest.mark.parametrize("file", ["domain.py", "events.py"])
def test_a_domain_that_imports_more_than_it_may_is_found(tmp_path: Path, imports: str, file: str) -> None:
    write(tmp_path, "wrong/shared.py", "")
    write(tmp_path, f"wrong/stock/{file}", f"import decimal\nfrom craton.domain import Money\n{imports}\n")
    module(tmp_path, "stock")
    app(tmp_path, "stock")

    checked = craton("check", "--app", "wrong.app:app", cwd=tmp_path)

    assert checked.code == 1
    assert len(checked.lines) == 1
    assert f"{file}:3" in checked.out


@pytest.mark.parametrize("parameter", ["object", "complex", "type(print)", "dict[str, object]", "list[complex]"])
def test_a_parameter_that_cannot_be_encoded_is_found(tmp_path: Path, parameter: str) -> None:
    module(tmp_path, "stock", parameter=parameter)
    app(tmp_path, "stock")

    checked = craton("check", "--app", "wrong.app:app", cwd=tmp_path)

    assert checked.code == 1
    assert "Traceback" not in checked.err
    assert any("Stock.hello" in line and "'name'" in line and "can't be encoded" in line for line in checked.lines)


def test_a_service_without_one_of_its_methods_is_wrong(tmp_path: Path) -> None:
    write(
        tmp_path,
        "wrong/stock/module.py",
        """
        from craton.application import Api, Module, query

        class Stock(Api):
            @query
            async def hello(self) -> str:
                "Say hello."

        class Service(Stock):
            pass

        stock = Module("stock", api=Stock, service=Service)
        """,
    )
    app(tmp_path, "stock")

    craton("check", "--app", "wrong.app:app", cwd=tmp_path).require_one_sentence(2, "Service has no hello")


def test_two_modules_of_one_name_are_wrong(tmp_path: Path) -> None:
    module(tmp_path, "stock")
    write(
        tmp_path,
        "wrong/app.py",
        "from craton.runtime import App\nfrom wrong.stock.module import stock\n"
        'app = App("wrong", modules=[stock, stock])\n',
    )

    craton("check", "--app", "wrong.app:app", cwd=tmp_path).require_one_sentence(2, "same name")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ('tables=["CREATE TABLE nonsense"]', "its tables can't be made"),
        ("settings=Needed", "CRATON_STOCK_KEY must be set"),
        ("provides={int: broken}", "ZeroDivisionError"),
        ("start=begin", "nothing provides"),
        ("routes=Routes(get('/x', Stock.hello))", "is not for strangers"),
        ("routes=Routes(get('/{y}', Stock.hello, access=public))", "there is no parameter 'y'"),
    ],
)
def test_what_would_keep_it_from_starting_is_found(tmp_path: Path, parts: str, said: str) -> None:
    write(
        tmp_path,
        "single.py",
        f"""
        from craton.application import Api, Module, Routes, Settings, get, public, query
        from craton.runtime import App

        class Needed(Settings):
            key: str

        def broken() -> int:
            return 1 // 0

        async def begin(nobodys: float) -> list[str]:
            return []

        class Stock(Api):
            @query
            async def hello(self) -> str:
                "Say hello."

        class Service(Stock):
            def __init__(self, {"number: int" if "provides" in parts else ""}) -> None:
                pass

            async def hello(self) -> str:
                return "hello"

        app = App("single", modules=[Module("stock", api=Stock, service=Service, {parts})])
        """,
    )

    checked = craton("check", "--app", "single:app", cwd=tmp_path)

    assert (checked.code, len(checked.lines)) == (1, 1), checked
    assert said in checked.out
    assert "Traceback" not in checked.out + checked.err


@pytest.mark.parametrize(
    "name", ["nothing.here:app", "market.app:nothing", "market.app:ledger", ":app", "", "market.app:app:app", "os:path"]
)
def test_an_application_that_is_none_is_wrong_use(name: str) -> None:
    refused = craton("check", "--app", name)

    refused.require_one_sentence(2)


@pytest.mark.parametrize(
    "text",
    ["def broken(:\n", "1 / 0\n", "undefined_name\n", "raise KeyError('SETTING')\n"],
)
def test_an_application_that_cannot_be_imported_is_a_sentence(tmp_path: Path, text: str) -> None:
    write(tmp_path, "broken.py", text)

    craton("check", "--app", "broken:app", cwd=tmp_path).require_one_sentence(2, "broken")


CALLERS = """
    from craton.application import Api, Module, Saga, query, step
    from craton.runtime import App

    class Egg(Api):
        @query
        async def hello(self) -> str:
            "Say hello."

    class Hen(Api):
        @query
        async def hello(self) -> str:
            "Say hello."

    class Hatching(Saga):
        @step
        async def call(self, hen: Hen) -> None:
            await hen.hello()

    class EggService(Egg):
        async def hello(self) -> str:
            return "egg"

    class HenService(Hen):
        def __init__(self, egg: Egg) -> None:
            self.egg = egg

        async def hello(self) -> str:
            return await self.egg.hello()

    app = App(
        "farm",
        modules=[
            Module("egg", api=Egg, service=EggService, sagas=[Hatching]),
            Module("hen", api=Hen, service=HenService),
        ],
    )
"""


def test_modules_that_call_each_other_in_a_circle_are_found(tmp_path: Path) -> None:
    write(tmp_path, "farm.py", CALLERS)

    checked = craton("check", "--app", "farm:app", cwd=tmp_path)

    assert checked.code == 1
    assert checked.lines == [
        "the modules egg → hen → egg call each other in a circle: egg calls hen (Hatching.call), "
        "hen calls egg (HenService); replace one of the calls by a policy that listens to the other module's events"
    ]


def test_the_map_tells_calls_from_listening() -> None:
    lines = craton("check", "--app", "market.app:app", "--map").lines

    assert lines[0] == "identity: Identity"
    payments = lines[lines.index("payments: Payments") :]
    payments = payments[: payments.index("ledger: Ledger")]
    assert "  sagas: CardCharge, WalletCharge, CallOff, Refunding" in payments
    assert "  calls ledger: FillWallet, EmptyWallet, WalletCharge.hold, Refunding.give_back" in payments
    assert "  listens to ordering: TakeBackPayment (OrderCancelled)" in payments


def test_the_map_can_be_drawn_by_mermaid() -> None:
    drawn = craton("check", "--app", "market.app:app", "--map", "--format", "mermaid").lines

    assert "    payments --> ledger" in drawn
    assert '    ordering -. "OrderCancelled" .-> payments' in drawn


def test_no_map_is_drawn_of_what_is_wrong(tmp_path: Path) -> None:
    write(tmp_path, "farm.py", CALLERS)

    checked = craton("check", "--map", "--app", "farm:app", cwd=tmp_path)

    assert (checked.code, len(checked.lines)) == (1, 1)
