"""The present program is started on the data of an older one, and nothing of what was under way is lost."""

from collections.abc import Mapping
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from craton.adapters.layouts import LAYOUT
from craton.domain import Text
from craton.ports import Changeset, Statement, StatementFailed, StoreUnsuitable
from craton.runtime.committer import write_alone
from craton.testing import until
from tests.upgrade.market_of_layout_1 import OldMarket, digest

REASON = Text("the program was upgraded")
OTHER_ARGUMENTS = {"quantity": 7, "reason": "another", "reference": "another", "note": "another", "name": "Another"}
"""For each field with this name in a body, another value that it may have."""

NEW_MODULES: Final = {"messaging", "recipes", "courses", "analytics"}
"""Modules that the market of layout 1 didn't have."""


class TestItsStores:
    async def test_have_the_newest_layout_and_the_log_says_so_without_an_error(self, closed_market: OldMarket) -> None:
        with capture_logs() as lines:
            async with closed_market as market:
                await closed_market.built()

                assert await closed_market.layouts() == dict.fromkeys(market.app.running, LAYOUT)

        assert [line for line in lines if line["log_level"] in ("error", "critical")] == []
        upgraded = [line for line in lines if line["event"] == "the store's tables were upgraded"]
        assert len(upgraded) == len(closed_market.modules) - len(NEW_MODULES)

    async def test_are_refused_by_a_program_that_does_not_know_their_layout(self, market: OldMarket) -> None:
        newer = Statement(f"UPDATE layout SET version = {LAYOUT + 1}", {})
        await write_alone(market.app.running["ledger"].store, Changeset(statements=[newer]))

        with pytest.raises(StoreUnsuitable, match=r"belongs to a newer version of Craton: .* Start the newer program"):
            await market.restart()

    async def test_tell_an_older_program_nothing_of_its_readers(self, market: OldMarket) -> None:
        """Its readers would begin with the first event, and each letter would be sent once more."""
        store = market.app.running["ledger"].store
        made_again = "CREATE TABLE IF NOT EXISTS checkpoints (subscription text PRIMARY KEY, position bigint NOT NULL)"
        await write_alone(store, Changeset(statements=[Statement(made_again, {})]))

        with pytest.raises(StatementFailed, match="position"):
            await store.fetch(Statement("SELECT position FROM checkpoints WHERE subscription = 'seals'", {}))

    async def test_hold_the_very_same_events(self, market: OldMarket) -> None:
        before = market.facts["logs"]

        now = {module: await digest(market.app, module, log["events"]) for module, log in before.items()}

        assert now == {module: log["digest"] for module, log in before.items()}

    async def test_are_as_their_logs_say(self, market: OldMarket) -> None:
        assert await market.problems() == []

    async def test_are_opened_again(self, market: OldMarket) -> None:
        await market.restart()

        assert await market.layouts() == dict.fromkeys(market.app.running, LAYOUT)
        assert await market.problems() == []


class TestItsReadModels:
    async def test_are_built_anew_where_their_version_was_raised(self, market: OldMarket) -> None:
        before: dict[str, int] = market.facts["generations"]

        views = {f"{view.module}.{view.projection}": view for view in await market.operations.projections()}

        old = {name for name in views if name.partition(".")[0] not in NEW_MODULES}
        assert old == before.keys() | {"identity.emails"}
        assert {name for name, generation in before.items() if views[name].live <= generation} == set()

    async def test_answer_as_before(self, market: OldMarket) -> None:
        """Two lists are more right than before. A letter's version counts its delays. The shipments whose events were
        parked or dropped for the read model are found in the log."""
        views = market.answers["views"]
        lists = ("/v1/notifications", "/v1/shipments")

        for view in views:
            answer = await market.ask(view["as"], "GET", view["path"])

            assert answer.status == view["status"], view["path"]
            if view["path"].startswith(lists):
                if "page=2" not in view["path"]:
                    items = _without_versions(answer.json["items"])
                    assert [it for it in _without_versions(view["body"]["items"]) if it not in items] == []
            else:
                assert answer.json == view["body"], view["path"]

    async def test_show_what_was_parked_or_dropped_for_the_generation_before(self, market: OldMarket) -> None:
        orders = market.facts["orders"]

        shown = {it["order"] for it in (await market.get("/v1/shipments?page_size=100"))["items"]}

        missing = {"confirmed, its shipment isn't shown", "confirmed, its shipment is never shown"}
        assert {orders[name] for name in missing} <= shown

    async def test_are_built_anew_when_an_operator_asks_for_it(self, market: OldMarket) -> None:
        before = await market.get("/v1/admin/projections/ledger.statement")

        asked = await market.ask("admin", "POST", "/v1/admin/projections/ledger.statement/rebuild", key="again")

        assert asked.status == 202, asked.body
        await market.becomes("/v1/admin/projections/ledger.statement", live=before["live"] + 1, building=0)


class TestItsKeys:
    async def test_are_given_their_answers_again(self, market: OldMarket) -> None:
        for asked in market.answers["keys"]:
            answer = await market.ask(asked["as"], asked["method"], asked["path"], asked["body"], asked["key"])

            given = {
                "status": answer.status,
                "location": answer.headers.get("location"),
                "body": _without_detail(answer.json) if answer.body else None,
                "replayed": answer.headers.get("idempotency-replayed") == "true",
                "position": answer.headers.get("craton-position"),
            }
            assert given == asked["replay"] | {"body": _without_detail(asked["replay"]["body"])}, asked["key"]

    async def test_are_refused_for_other_arguments(self, market: OldMarket) -> None:
        refused = 0
        for asked in market.answers["keys"]:
            changed = {name: value for name, value in OTHER_ARGUMENTS.items() if name in (asked["body"] or ())}
            if changed:
                body = asked["body"] | changed
                answer = await market.ask(asked["as"], asked["method"], asked["path"], body, asked["key"])

                assert answer.code == "idempotency-key-reused", asked["key"]
                refused += 1
        assert refused > 10


def _without_versions(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in item.items() if name != "version"} for item in items]


def _without_detail(body: Any) -> Any:
    """A problem's code and details are for programs. Its sentence is for people, and may be said better."""
    return {name: value for name, value in body.items() if name != "detail"} if isinstance(body, dict) else body


class TestItsReaders:
    async def test_keep_their_progress_in_their_own_modules_store(self, closed_market: OldMarket) -> None:
        before: Mapping[str, int] = closed_market.facts["readers"]

        async with closed_market.run_without_background() as app:
            now = {name: await app.running[name.partition(".")[0]].store.checkpoint(name) for name in before}

        assert now == before

    async def test_keep_what_is_parked_there_with_the_events(self, closed_market: OldMarket) -> None:
        async with closed_market.run_without_background() as app:
            for module, policy in (("payments", "payments.emptywallet"), ("notifications", "notifications.post")):
                before = closed_market.parked_before(module)
                reader, store = f"{policy}@{module}", app.running[module].store

                parked = await store.parked(reader)
                events = await store.parked_events(reader, before[0]["key"], len(before))

                assert [(it.position, it.key, it.attempts, it.operator_request) for it in parked] == [
                    (it["position"], it["key"], it["attempts"], it["wish"]) for it in before
                ]
                assert [(event.position, event.type) for event in events] == [
                    (it["position"], it["type"]) for it in before
                ]
                assert await store.parked(policy) == []

    async def test_carry_out_a_retry_that_was_asked_for_before(self, market: OldMarket) -> None:
        """It is in vain, because the wallet is still too empty. The last event behind it is none of the policy's."""
        first, second, _ = market.parked_before("payments")

        async def is_tried() -> bool:
            return [(it.position, it.attempts, it.request) for it in await market.parked("payments")] == [
                (first["position"], 2, ""),
                (second["position"], 0, ""),
            ]

        await until(is_tried)

    async def test_do_what_was_parked_when_it_is_retried(self, market: OldMarket) -> None:
        balance = await market.cents("wallet of gus")
        await _fill_the_wallet(market, "80.00")

        await market.operations.retry_parked("payments", reason=REASON)
        await market.operations.retry_parked("notifications", reason=REASON)

        (letter,) = market.parked_before("notifications")
        await market.balance_becomes("wallet of gus", balance + 8000 - 6000 - 4000)
        await market.becomes(f"/v1/accounts/{market.facts['accounts']['wallet of gus']}", held=_eur("0.00"))
        await until(lambda: _is_sent(market, letter["key"].removeprefix("letter-")))
        assert await market.parked("payments") == await market.parked("notifications") == []

    async def test_give_up_what_is_dropped_and_go_on_behind_it(self, market: OldMarket) -> None:
        balance = await market.cents("wallet of gus")
        await _fill_the_wallet(market, "80.00")
        first, *_ = market.parked_before("payments")

        await market.operations.drop_parked("payments", position=first["position"], reason=REASON)

        await market.balance_becomes("wallet of gus", balance + 8000 - 4000)
        assert await market.parked("payments") == []

    async def test_do_not_come_back_to_what_was_dropped_before(self, market: OldMarket) -> None:
        await market.operations.retry_parked("notifications", reason=REASON)
        (letter,) = market.parked_before("notifications")
        await until(lambda: _is_sent(market, letter["key"].removeprefix("letter-")))

        assert market.mailed() == {letter["key"].removeprefix("letter-")}


async def _fill_the_wallet(market: OldMarket, amount: str) -> None:
    account = market.facts["accounts"]["wallet of gus"]
    filled = await market.ask("admin", "POST", f"/v1/accounts/{account}/deposits", {"money": _eur(amount)})
    assert filled.status == 201, filled.body


async def _is_sent(market: OldMarket, letter: str) -> bool:
    return (await market.letters())[letter] == "sent" and letter in market.mailed()


def _eur(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "EUR"}
