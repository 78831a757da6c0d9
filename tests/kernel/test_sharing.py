"""Nothing that can be changed is shared: not between caller and module, not between one command and the next."""

from collections.abc import MutableMapping, MutableSequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec
import pytest

from craton.application import Api, Module, Repository, command, query
from craton.application.api import operation_of
from craton.application.codec import decode
from craton.domain import Aggregate, Conflict, Event, Id, Money, Value
from craton.domain.immutability import is_immutable
from craton.runtime import App
from tests.kernel.bank import ask
from tests.kernel.conftest import StartApp

T = TypeVar("T")


class BasketId(Id):
    pass


class Filled(Event):
    lines: list[str]


class Labelled(Event):
    label: str


class TooMuch(Conflict):
    """That doesn't go in."""


class Basket(Aggregate[BasketId]):
    snapshot_every = 1
    lines: MutableSequence[str]
    labels: MutableMapping[str, int]

    def apply(self, event: Filled | Labelled) -> None:
        match event:
            case Filled(lines=lines):
                self.lines = lines
                self.labels = {}
            case Labelled(label=label):
                self.lines.append(label)
                self.labels[label] = self.labels.get(label, 0) + 1


class Baskets(Api):
    @command
    async def fill(self, basket: BasketId, lines: list[str]) -> list[str]: ...

    @command
    async def change_what_was_kept(self) -> None: ...

    @command
    async def fill_and_label(self, basket: BasketId, lines: list[str], label: str) -> None: ...

    @command
    async def label(self, basket: BasketId, label: str, *, refuse: bool = False) -> None: ...

    @query
    async def lines(self, basket: BasketId) -> list[str]: ...


class BasketService(Baskets):
    def __init__(self, baskets: Repository[Basket]) -> None:
        self._baskets = baskets
        self.kept: list[str] = []

    async def fill(self, basket: BasketId, lines: list[str]) -> list[str]:
        self.kept = lines
        self._baskets.add(Basket.begin(basket, Filled(lines=lines)))
        return self.kept

    async def change_what_was_kept(self) -> None:
        self.kept.append("stolen")

    async def fill_and_label(self, basket: BasketId, lines: list[str], label: str) -> None:
        found = Basket.begin(basket, Filled(lines=lines))
        found.record(Labelled(label=label))
        self._baskets.add(found)

    async def label(self, basket: BasketId, label: str, *, refuse: bool = False) -> None:
        found = await self._baskets.get(basket)
        found.record(Labelled(label=label))
        if refuse:
            raise TooMuch()

    async def lines(self, basket: BasketId) -> list[str]:
        return list((await self._baskets.get(basket)).lines)


@pytest.fixture
async def app(start: StartApp) -> App:
    return await start(Module("baskets", api=Baskets, service=BasketService))


@pytest.fixture
def baskets(app: App) -> Baskets:
    return app.api(Baskets)


async def recorded(app: App) -> list[dict[str, Any]]:
    return [msgspec.json.decode(event.data) async for event in app.running["baskets"].source.stored()]


class Options(Value):
    names: list[str]


PLAIN = Options(names=["a"])


class Named(Api):
    @command
    async def name(self, options: Options = PLAIN) -> list[str]: ...

    @query
    async def look(self, options: Options = PLAIN) -> list[str]: ...


class NamedService(Named):
    async def name(self, options: Options = PLAIN) -> list[str]:
        options.names.append("b")
        return options.names

    async def look(self, options: Options = PLAIN) -> list[str]:
        return await self.name(options)


@pytest.mark.parametrize("method", [Named.name, Named.look])
async def test_a_default_is_each_calls_own_however_its_arguments_are_made(start: StartApp, method: Any) -> None:
    app = await start(Module("named", api=Named, service=NamedService))
    operation = operation_of(method)

    for _ in range(2):
        assert (await ask(app, method)).result == ["a", "b"]
        decoded: Any = decode(operation.arguments, "{}")
        assert (await ask(app, method, options=decoded.options)).result == ["a", "b"]


class TestACall:
    async def test_hands_over_arguments_that_the_caller_cannot_change_afterwards(self, baskets: Baskets) -> None:
        basket, lines = BasketId.new(), ["apple"]
        await baskets.fill(basket, lines)

        lines.append("stolen")
        await baskets.label(basket, "pear")

        assert await baskets.lines(basket) == ["apple", "pear"]

    async def test_answers_with_what_the_module_cannot_change_afterwards(self, baskets: Baskets) -> None:
        first = await baskets.fill(BasketId.new(), ["apple"])
        first.append("stolen")

        assert await baskets.fill(BasketId.new(), ["apple"]) == ["apple"]


class TestAnEvent:
    async def test_says_what_it_said_whatever_the_state_makes_of_its_parts(self, app: App, baskets: Baskets) -> None:
        await baskets.fill_and_label(BasketId.new(), ["apple"], "pear")

        assert await recorded(app) == [{"lines": ["apple"]}, {"label": "pear"}]


class TestAState:
    async def test_shares_nothing_with_what_the_module_keeps(self, baskets: Baskets, start: StartApp) -> None:
        basket = BasketId.new()
        await baskets.fill(basket, ["apple"])

        await baskets.change_what_was_kept()
        await baskets.label(basket, "pear")

        other = await start(Module("baskets", api=Baskets, service=BasketService))
        assert await other.api(Baskets).lines(basket) == ["apple", "pear"]

    async def test_that_a_refused_command_has_changed_is_seen_by_nobody(
        self, app: App, baskets: Baskets, start: StartApp
    ) -> None:
        basket = BasketId.new()
        await baskets.fill(basket, ["apple"])

        for _ in range(3):
            with pytest.raises(TooMuch):
                await baskets.label(basket, "refused", refuse=True)
        await baskets.label(basket, "pear")

        assert await baskets.lines(basket) == ["apple", "pear"]
        other = await start(Module("baskets", api=Baskets, service=BasketService))
        assert await other.api(Baskets).lines(basket) == ["apple", "pear"]


class Frozen(Value):
    names: tuple[str, ...] = ()


class Loose(Value):
    names: list[str]


class Cell(msgspec.Struct, Generic[T], frozen=True):
    content: T


@dataclass(frozen=True)
class Record:
    names: list[str] = field(default_factory=list)


@pytest.mark.parametrize("kind", [int, Money, BasketId, tuple[int, ...], frozenset[str], int | None, Frozen, Cell[int]])
def test_what_never_changes_may_be_shared(kind: Any) -> None:
    assert is_immutable(kind)


@pytest.mark.parametrize(
    "kind",
    [
        list[int],
        set[int],
        dict[str, int],
        MutableMapping[str, int],
        MutableSequence[int],
        tuple[list[int], ...],
        int | list[int],
        Loose,
        Cell[list[int]],
        Record,
        Any,
        object,
    ],
)
def test_what_could_change_or_is_not_known_is_never_shared(kind: Any) -> None:
    assert not is_immutable(kind)
