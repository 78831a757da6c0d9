"""What a new version of the program may change about a read model while processes of the old one still run."""

from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest

from craton.application import Projection, Unavailable
from craton.ports import Changeset, Document, Isolation, Statement, Store
from craton.runtime import App
from craton.testing import until
from craton.testing.conformance.making import write
from tests.conftest import Place
from tests.kernel.conftest import StartApp
from tests.kernel.jars import (
    InlineTotals,
    JarId,
    Jars,
    Sums,
    Totals,
    TotalsWithLabels,
    caught_up,
    coins,
    jars,
    runner,
    view,
)


@pytest.fixture
def jar() -> JarId:
    return JarId.new()


class TestInlineTurnedOff:
    async def test_counts_no_event_twice(self, place: Place, start: StartApp, jar: JarId) -> None:
        async with App("test", modules=[jars(InlineTotals)]).run(place) as old:
            for amount in (20, 30):
                await old.api(Jars).put(jar, amount)

        new = await start(jars(Totals), subscriptions=True)
        await caught_up(new)
        await new.api(Jars).put(jar, 1)
        await caught_up(new)

        assert await coins(new) == {jar: 51}

    async def test_stops_the_old_process_from_writing_rows_that_are_no_longer_inline(
        self, start: StartApp, jar: JarId
    ) -> None:
        old = await start(jars(InlineTotals), subscriptions=True)
        await old.api(Jars).put(jar, 20)
        new = await start(jars(Totals), subscriptions=True)
        await caught_up(new)

        with pytest.raises(Unavailable):
            await old.api(Jars).put(jar, 5)
        with pytest.raises(Unavailable):  # it expects to read its own writes
            await coins(old)
        assert await coins(new) == {jar: 20}

    async def test_takes_no_event_of_its_own_before_the_view_is_built(self, start: StartApp, jar: JarId) -> None:
        old = await start(jars(InlineTotals))
        await old.api(Jars).put(jar, 20)
        new = await start(jars(Totals))

        with pytest.raises(Unavailable):
            await new.api(Jars).put(jar, 5)
        await old.api(Jars).put(jar, 7)

        assert await coins(new) == await coins(old) == {jar: 27}


class TestInlineTurnedOn:
    async def test_has_every_event_once(self, place: Place, start: StartApp, jar: JarId) -> None:
        async with App("test", modules=[jars(Totals)]).run(place, subscriptions=False) as old:
            for amount in (20, 30):
                await old.api(Jars).put(jar, amount)

        new = await start(jars(InlineTotals), subscriptions=True)
        await caught_up(new)
        await new.api(Jars).put(jar, 1)

        assert await coins(new) == {jar: 51}

    async def test_stops_the_old_process_from_writing_events_without_their_rows(
        self, start: StartApp, jar: JarId
    ) -> None:
        old = await start(jars(Totals), subscriptions=True)
        await old.api(Jars).put(jar, 20)
        new = await start(jars(InlineTotals), subscriptions=True)
        await caught_up(new)

        with pytest.raises(Unavailable):
            await old.api(Jars).put(jar, 5)
        await new.api(Jars).put(jar, 1)

        async def seen_by_the_old_process() -> bool:
            return await coins(old) == {jar: 21}

        assert await coins(new) == {jar: 21}
        await until(seen_by_the_old_process)

    async def test_may_be_turned_off_and_on_again(self, place: Place, jar: JarId) -> None:
        for total, kind in enumerate((InlineTotals, Totals, InlineTotals), 1):
            async with App("test", modules=[jars(kind)]).run(place) as app:
                await caught_up(app)
                await app.api(Jars).put(jar, 1)
                await caught_up(app)

                assert await coins(app) == {jar: total}


class TestANewInlineProjection:
    @pytest.fixture
    async def old(self, start: StartApp, jar: JarId) -> App:
        """A process of the version before, which knows nothing of the projection."""
        old = await start(jars())
        await old.api(Jars).put(jar, 10)
        return old

    async def test_has_what_the_old_process_writes_before_it_is_live(
        self, old: App, start: StartApp, jar: JarId
    ) -> None:
        idle = await start(jars(InlineTotals))
        await old.api(Jars).put(jar, 5)
        with pytest.raises(Unavailable):
            await idle.api(Jars).put(jar, 100)

        new = await start(jars(InlineTotals), subscriptions=True)
        await caught_up(new)
        await new.api(Jars).put(jar, 1)

        assert await coins(new) == {jar: 16}

    async def test_stops_the_old_process_once_it_is_live(self, old: App, start: StartApp, jar: JarId) -> None:
        new = await start(jars(InlineTotals), subscriptions=True)
        await caught_up(new)
        await new.api(Jars).put(jar, 5)

        with pytest.raises(Unavailable, match="another version of the program keeps the view totals"):
            await old.api(Jars).put(jar, 10)

        assert await coins(new) == {jar: 15}
        assert [problem async for problem in new.running["jars"].verify()] == []

    @pytest.mark.parametrize("isolation", get_args(Isolation))
    async def test_stops_its_transactions_too(
        self, old: App, start: StartApp, jar: JarId, isolation: Isolation
    ) -> None:
        new = await start(jars(InlineTotals), subscriptions=True)
        await caught_up(new)

        with pytest.raises(Unavailable):
            await old.api(Jars).put_in_transaction(jar, 10, isolation)
        await new.api(Jars).put_in_transaction(jar, 1, isolation)

        assert await coins(new) == {jar: 11}

    async def test_lets_the_old_process_write_events_that_it_is_not_made_from(
        self, old: App, start: StartApp, jar: JarId
    ) -> None:
        new = await start(jars(InlineTotals), subscriptions=True)
        await caught_up(new)

        await old.api(Jars).stick(jar, "savings")

        assert await coins(new) == {jar: 10}

    async def test_of_a_store_without_events_stops_the_old_process_at_once(self, start: StartApp, jar: JarId) -> None:
        old = await start(jars())
        new = await start(jars(InlineTotals))

        with pytest.raises(Unavailable):
            await old.api(Jars).put(jar, 10)
        await new.api(Jars).put(jar, 1)

        assert await coins(new) == {jar: 1}


class TestARemovedInlineProjection:
    async def test_is_missed_until_the_program_says_that_it_is_retired(self, start: StartApp, jar: JarId) -> None:
        old = await start(jars(InlineTotals))
        await old.api(Jars).put(jar, 10)
        without = await start(jars())

        with pytest.raises(Unavailable):
            await without.api(Jars).put(jar, 5)
        new = await start(jars(retired=["totals"]))
        await new.api(Jars).put(jar, 5)
        await without.api(Jars).put(jar, 5)

        with pytest.raises(Unavailable):
            await old.api(Jars).put(jar, 5)
        with pytest.raises(Unavailable):  # nobody keeps it in step any more
            await coins(old)

    async def test_is_built_from_the_beginning_when_it_comes_back(
        self, place: Place, start: StartApp, jar: JarId
    ) -> None:
        for module in (jars(InlineTotals), jars(retired=["totals"])):
            async with App("test", modules=[module]).run(place) as app:
                await app.api(Jars).put(jar, 10)

        back = await start(jars(InlineTotals), subscriptions=True)
        await caught_up(back)

        assert await coins(back) == {jar: 20}


class TestOtherEvents:
    @pytest.mark.parametrize("inline", [False, True])
    async def test_make_a_new_generation(self, place: Place, start: StartApp, jar: JarId, inline: bool) -> None:
        class Before(Totals):
            name = "totals"

        class After(TotalsWithLabels):
            name = "totals"

        Before.inline = After.inline = inline
        async with App("test", modules=[jars(Before)]).run(place) as old:
            await old.api(Jars).put(jar, 10)
            await old.api(Jars).stick(jar, "savings")
            await caught_up(old)

        new = await start(jars(After), subscriptions=True)
        await caught_up(new)

        (row,) = (await view(new, "totals").page()).items
        assert (row.coins, row.labels) == (10, 1)


class TestARenamedProjection:
    async def test_has_tables_of_its_own_and_leaves_those_of_the_old_process_alone(
        self, start: StartApp, jar: JarId
    ) -> None:
        old = await start(jars(Totals), subscriptions=True)
        await old.api(Jars).put(jar, 10)
        await caught_up(old)

        new = await start(jars(Sums, retired=["totals"]), subscriptions=True)
        await caught_up(new, "sums")
        await runner(old, "totals").rebuild()
        await new.api(Jars).put(jar, 5)
        await caught_up(old)
        await caught_up(new, "sums")

        assert await coins(old) == await coins(new, "sums") == {jar: 15}
        live = [runner(app, name).record.state.live for app, name in ((old, "totals"), (new, "sums"))]
        tables = [table.name for generation in live if generation for table in generation.tables]
        assert len(set(tables)) == 2

    async def test_adopts_no_table_that_was_left_over(
        self, place: Place, open_stores: Callable[[Store], Any], start: StartApp, jar: JarId
    ) -> None:
        store = await open_stores(place("jars"))
        (row_type,) = jars(Totals).projections["totals"].rows.values()
        await store.create_table(row_type.table(1))

        app = await start(jars(Totals), subscriptions=True)
        await app.api(Jars).put(jar, 5)
        await caught_up(app)

        assert await coins(app) == {jar: 5}
        live = runner(app, "totals").record.state.live
        assert live is not None and live.number == 2


@pytest.mark.parametrize("kind", [Totals, InlineTotals])
class TestAStoreOfAnOlderVersionOfTheToolkit:
    """It has recorded a generation's number, version and shape alone, and no set of live inline projections."""

    async def _made_older(self, store: Store, *, building: bool) -> None:
        document = await store.document("projection/totals")
        assert document is not None
        recorded = msgspec.json.decode(document.body)
        for place, generation in recorded.items():
            if isinstance(generation, dict):
                recorded[place] = {name: generation[name] for name in ("number", "version", "shape")}
        if building:
            recorded |= {"building": recorded["live"], "live": None}
        older = Document(document.name, document.revision + 1, msgspec.json.encode(recorded).decode())
        await write(
            store,
            Changeset(documents=[older], statements=[Statement("DELETE FROM documents WHERE name = 'inline'", {})]),
        )

    async def test_is_taken_over_as_it_is(
        self, kind: type[Projection], place: Place, start: StartApp, open_stores: Callable[[Store], Any], jar: JarId
    ) -> None:
        async with App("test", modules=[jars(kind)]).run(place) as before:
            await before.api(Jars).put(jar, 10)
            await caught_up(before)
        await self._made_older(await open_stores(place("jars")), building=False)

        app = await start(jars(kind), subscriptions=True)
        await app.api(Jars).put(jar, 5)
        await caught_up(app)

        assert await coins(app) == {jar: 15}
        live = runner(app, "totals").record.state.live
        assert live is not None and live.number == 1

    async def test_begins_a_build_again_whose_columns_are_not_unique_yet(
        self, kind: type[Projection], place: Place, start: StartApp, open_stores: Callable[[Store], Any], jar: JarId
    ) -> None:
        async with App("test", modules=[jars(kind)]).run(place) as before:
            await before.api(Jars).put(jar, 10)
            await caught_up(before)
        await self._made_older(await open_stores(place("jars")), building=True)

        app = await start(jars(kind), subscriptions=True)
        await caught_up(app)

        assert await coins(app) == {jar: 10}
        live = runner(app, "totals").record.state.live
        assert live is not None and live.number == 2
