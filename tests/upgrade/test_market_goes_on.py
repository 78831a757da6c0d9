"""What an older program has begun goes on with the present one: timers, sagas, and what people do next."""

from datetime import datetime

from craton.application.sagas.events import SagaId
from craton.domain import Text
from craton.testing import until
from market.payments.api import Payments
from market.payments.events import PaymentId, Standing
from tests.upgrade.market_of_layout_1 import ALL, OldMarket

REASON = Text("the program was upgraded")


class TestItsTimers:
    async def test_send_delayed_letters_when_they_are_due_and_no_others(self, market: OldMarket) -> None:
        dues = {letter: datetime.fromisoformat(due) for letter, due in market.facts["delayed_letters"].items()}
        assert market.mailed() == set()

        market.turn(minutes=5)

        due = {letter for letter, at in dues.items() if at <= market.clock.time}
        assert 0 < len(due) < len(dues)
        await until(lambda: _are_mailed(market, due))
        assert market.mailed() == due

    async def test_give_up_orders_that_are_not_paid_in_time_and_no_others(self, market: OldMarket) -> None:
        orders = market.facts["orders"]

        market.turn(minutes=34)
        await _is_given_up(market, orders["pending, nobody answers"])
        assert (await market.get(f"/v1/orders/{orders['pending, in the browser']}"))["status"] == "pending"

        market.turn(minutes=27)
        await _is_given_up(market, orders["pending, in the browser"])

    async def test_let_holds_expire_when_they_are_due_and_no_others(self, market: OldMarket) -> None:
        holds = {name: f"/v1/transfers/{hold}" for name, hold in market.facts["holds"].items()}
        market.turn(minutes=34)
        await _is_given_up(market, market.facts["orders"]["pending, nobody answers"])
        assert (await market.get(holds["expires in an hour"]))["status"] == "pending"

        market.turn(minutes=27)
        await market.becomes(holds["expires in an hour"], status="voided")

        for name in ("open", "expires in thirty days"):
            assert (await market.get(holds[name]))["status"] == "pending", name

    async def test_that_are_parked_run_when_they_are_retried(self, market: OldMarket) -> None:
        hold = f"/v1/transfers/{market.facts['holds']['whose timer is parked']}"
        (parked,) = (await market.operations.timers(parked=True)).items
        assert (parked.module, parked.id) == ("ledger", market.facts["parked_timer"])
        assert (await market.get(hold))["status"] == "pending"

        await market.operations.retry_timer("ledger", parked.id, REASON)

        await market.becomes(hold, status="voided")
        assert (await market.operations.timers(parked=True)).total == 0


class TestItsSagas:
    async def test_go_on_when_the_payment_comes_that_they_wait_for(self, market: OldMarket) -> None:
        order = market.facts["orders"]["pending, announced to the gateway"]
        payment = market.facts["payments"]["pending, announced to the gateway"]
        assert (await market.get(f"/v1/sagas/{order}"))["status"] == "running"

        await market.api(Payments).settle(PaymentId(payment), Standing.SUCCEEDED, f"sandbox_{payment}", Text(""))

        await market.becomes(f"/v1/orders/{order}", status="confirmed")
        await market.becomes(f"/v1/sagas/{order}", status="completed")

    async def test_that_are_stuck_are_retried_by_an_operator(self, market: OldMarket) -> None:
        saga = market.facts["stuck_refund"]
        payment = f"/v2/payments/{market.facts['payments']['confirmed, refunded in part']}"
        before = float((await market.get(payment))["refunded"]["amount"])
        assert (await market.operations.saga(SagaId(saga))).status == "stuck"

        await market.operations.retry_saga(SagaId(saga), REASON)

        await market.becomes(f"/v1/sagas/{saga}", status="completed")
        await market.becomes(payment, refunded={"amount": f"{before + 6:.2f}", "currency": "EUR"})

    async def test_all_end_when_the_time_has_come(self, market: OldMarket) -> None:
        """But for the stuck one, which waits for an operator."""
        open_before = [saga.id for saga in (await market.operations.sagas(paging=ALL)).items if saga.ended_at is None]
        assert len(open_before) == 5

        market.turn(minutes=34)
        await _is_given_up(market, market.facts["orders"]["pending, nobody answers"])

        async def have_ended() -> bool:
            market.turn(minutes=1)  # what a saga still waits for begins when it gets there
            sagas = (await market.operations.sagas(paging=ALL)).items
            return [saga.id for saga in sagas if saga.ended_at is None] == [market.facts["stuck_refund"]]

        await until(have_ended)
        await market.built()
        assert await market.problems() == []


class TestItsPeople:
    async def test_move_money(self, market: OldMarket) -> None:
        balance = await market.cents("bob's")
        source, target = market.facts["accounts"]["ada's"], market.facts["accounts"]["bob's"]
        transfer = {"source": source, "target": target, "money": {"amount": "12.50", "currency": "EUR"}}
        hold = market.facts["holds"]["open"]

        moved = await market.ask("ada", "POST", "/v1/transfers", transfer)
        part = {"money": {"amount": "30.00", "currency": "EUR"}}
        posted = await market.ask("bob", "POST", f"/v1/transfers/{hold}/post", part)

        assert (moved.status, posted.status) == (201, 204), (moved.body, posted.body)
        await market.balance_becomes("bob's", balance + 1250 + 3000)

    async def test_order_and_are_sent_their_goods(self, market: OldMarket) -> None:
        on_hand = (await market.stock("knife"))["on_hand"]
        ada, sven = await market.person("ada"), await market.person("sven")

        order = await market.place(ada, {"knife": 1})

        await market.becomes(f"/v1/sagas/{order}", status="completed")
        await market.becomes("/v1/products/knife/stock", on_hand=on_hand - 1)
        shipped = await sven.post(f"/v1/orders/{order}/ship")
        delivered = await sven.post(f"/v1/orders/{order}/deliver")
        assert (shipped.status, delivered.status) == (204, 204)
        await market.seen(ada, f"/v1/shipments?order={order}", lambda it: it["items"][0]["status"] == "delivered")

    async def test_get_their_money_back_for_an_order_of_before(self, market: OldMarket) -> None:
        bob, order = await market.person("bob"), market.facts["orders"]["shipped"]

        cancelled = await bob.post(f"/v1/orders/{order}/cancel", {"reason": "it never came"})

        assert cancelled.status == 204, cancelled.body
        await market.seen(bob, f"/v2/payments?order={order}", lambda it: it["items"][0]["status"] == "refunded")

    async def test_that_guessed_a_password_too_often_still_wait(self, market: OldMarket) -> None:
        eve = market.facts["people"]["eve"]
        assert (await market.nobody.post("/v1/login", eve)).status == 429

        market.turn(minutes=1)

        assert (await market.nobody.post("/v1/login", eve)).status == 200


async def _is_given_up(market: OldMarket, order: str) -> None:
    assert "timed out" in (await market.becomes(f"/v1/orders/{order}", status="cancelled"))["status_display"]
    await market.becomes(f"/v1/sagas/{order}", status="compensated")


async def _are_mailed(market: OldMarket, letters: set[str]) -> bool:
    return letters <= market.mailed()
