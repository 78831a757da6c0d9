"""Calls: direct or copied, they behave the same; their context travels with them and is recorded."""

import json

import pytest

from craton.application import Api, Context, Module, Paging, command, query
from craton.application.command_keys import CommandKey
from craton.application.context import context_var
from craton.domain import Value
from craton.runtime import App
from tests.kernel.bank import AccountId, Bank, Gate, InsufficientFunds, ask, bank
from tests.kernel.conftest import StartApp


@pytest.fixture(params=[False, True], ids=["direct", "copied"])
def copied_calls(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
async def app(start: StartApp, copied_calls: bool) -> App:
    return await start(bank(Gate()), copied_calls=copied_calls)


class TestACall:
    async def test_gives_results_of_their_own_types(self, api: Bank) -> None:
        account = await api.open("Ann", "ann@example.org")

        assert type(account) is AccountId
        assert (await api.state(account)).owner == "Ann"

    async def test_refuses_by_the_domains_own_errors(self, api: Bank) -> None:
        account = await api.open("Ann", "ann@example.org")

        with pytest.raises(InsufficientFunds) as refusal:
            await api.withdraw(account, 5)

        assert refusal.value == InsufficientFunds(balance=0)

    async def test_takes_arguments_by_place_by_name_and_by_default(self, api: Bank) -> None:
        account = await api.open(owner="Ann", email="ann@example.org")

        assert await api.deposit(account, amount=5) == 5
        assert await api.deposit(account, 5, "ref") == 10

    async def test_with_wrong_arguments_fails_as_a_call_does(self, api: Bank) -> None:
        with pytest.raises(TypeError, match="misses email"):
            await api.open("Ann")  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="unexpected or repeated"):
            await api.open("Ann", "x", colour="red")  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="2 positional"):
            await api.open("Ann", "x", "y")  # type: ignore[call-arg]


class Basket(Value):
    items: list[int]


class Shelf(Api):
    @command
    async def empty(self, basket: Basket) -> Basket: ...

    @query
    async def held(self) -> list[int]: ...


class ShelfService(Shelf):
    def __init__(self) -> None:
        self.items = [1, 2, 3]

    async def empty(self, basket: Basket) -> Basket:
        basket.items.clear()
        return basket

    async def held(self) -> list[int]:
        return self.items


class TestACopiedCall:
    async def test_shares_no_object_with_its_caller(self, start: StartApp) -> None:
        shelf = (await start(Module("shelf", api=Shelf, service=ShelfService), copied_calls=True)).api(Shelf)
        basket = Basket(items=[1])

        emptied = await shelf.empty(basket)
        (await shelf.held()).clear()

        assert (basket.items, emptied.items) == ([1], [])
        assert await shelf.held() == [1, 2, 3]


class TestTheContext:
    async def test_is_recorded_with_each_event(self, app: App) -> None:
        asked = Context(actor="ann", tenant="acme", correlation="conversation-1", key=CommandKey("k"))

        await ask(app, Bank.open, "Ann", "ann@example.org", context=asked)

        (event,) = [event async for event in app.running["bank"].source.stored()]
        assert json.loads(event.metadata) == {
            "actor": "ann",
            "tenant": "acme",
            "correlation": "conversation-1",
            "causation": asked.id,
            "key": "k",
        }

    async def test_of_a_first_call_begins_a_conversation(self, app: App) -> None:
        asked = Context()

        await ask(app, Bank.open, "Ann", "ann@example.org", context=asked)

        (event,) = [event async for event in app.running["bank"].source.stored()]
        assert json.loads(event.metadata) == {"correlation": asked.id, "causation": asked.id}

    async def test_of_a_call_inside_a_call_is_of_the_same_people_and_conversation(self, app: App) -> None:
        token = context_var.set(Context(actor="ann", tenant="acme", correlation="conversation-1", key=CommandKey("k")))
        try:
            assert await app.api(Bank).who_asks() == ("ann", "acme", "conversation-1")
        finally:
            context_var.reset(token)

    async def test_of_one_call_is_not_that_of_the_next(self, app: App, api: Bank) -> None:
        await ask(app, Bank.open, "Ann", "ann@example.org", context=Context(actor="ann"))

        actor, tenant, _ = await api.who_asks()

        assert (actor, tenant) == (None, None)


class TestPages:
    async def test_a_view_is_read_in_pages_newest_first(self, app: App, start: StartApp) -> None:
        follower = await start(bank(), subscriptions=True)
        answers = [await ask(app, Bank.open, f"Owner {n}", f"{n}@example.org") for n in range(5)]
        reached = Context(positions={"bank": answers[-1].position})

        page = (await ask(follower, Bank.accounts, Paging(2, 2), context=reached)).result

        assert [row.owner for row in page.items] == ["Owner 2", "Owner 1"]
        assert (page.total, page.total_pages) == (5, 3)
