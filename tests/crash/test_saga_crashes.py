"""A shop is killed by SIGKILL in the middle of its sagas, policies and timers, under the load of eight clients, and
started again, in each store and at each named crash point that concerns them.

Each client gives each of its commands an idempotency key, and repeats with it what the dead process had not answered.
Each test below looks at the same crashes, when no saga runs any more.
"""

from collections import Counter, defaultdict
from signal import SIGKILL

from craton.testing.crash import CRASH_POINTS
from tests.crash.conftest import COUNTS, SHOP_COUNTS, ShopCrash
from tests.crash.shopping import CENTS, DELIVERED, ENDINGS, MODULES, wrong_histories


def test_each_crash_point_that_there_is_kills_a_market_or_a_shop() -> None:
    assert COUNTS.keys() | SHOP_COUNTS.keys() == CRASH_POINTS.keys()


def test_the_shop_dies_by_sigkill_in_the_middle_of_its_sagas(shop_crash: ShopCrash) -> None:
    assert shop_crash.killed
    assert shop_crash.exit_code == -SIGKILL, shop_crash.log_before
    assert shop_crash.in_flight > 10, "it died when the sagas had ended, or before they had begun"
    assert len(shop_crash.orders) - shop_crash.in_flight > 0, "no saga had ended when it died"


def test_every_answered_order_is_there_exactly_once(shop_crash: ShopCrash) -> None:
    placed = Counter(fact.data["reference"] for fact in shop_crash.found.of_kind("OrderPlaced"))
    answered = [entry for entry in shop_crash.answered if entry.command.path == "/v1/orders"]
    assert len(answered) > 20
    assert [placed[entry.command.body["reference"]] for entry in answered] == [1] * len(answered)


def test_an_order_without_an_answer_is_there_once_when_it_is_repeated(shop_crash: ShopCrash) -> None:
    assert all(entry.reply is not None for entry in shop_crash.unanswered)
    placed = Counter(fact.data["reference"] for fact in shop_crash.found.of_kind("OrderPlaced"))
    asked = Counter(entry.command.body["reference"] for entry in shop_crash.sent if entry.command.path == "/v1/orders")
    assert placed == asked


def test_what_was_answered_and_is_repeated_gets_its_first_answer_again(shop_crash: ShopCrash) -> None:
    for entry, again in shop_crash.replays:
        assert entry.first is not None
        assert (again.status, again.body) == (entry.first.status, entry.first.body)
        assert again.headers.get("idempotency-replayed") == "true"


def test_every_order_is_confirmed_or_cancelled_as_its_customer_has_it(shop_crash: ShopCrash) -> None:
    endings = shop_crash.found.orders
    assert endings.keys() == shop_crash.orders.keys()
    assert set(endings.values()) == {"confirmed", "cancelled"}
    wrong = {
        order: (wanted, endings[order])
        for order, wanted in shop_crash.orders.items()
        if wanted.ending not in (None, endings[order])
    }
    assert wrong == {}


def test_whatever_happens_about_an_order_happens_once(shop_crash: ShopCrash) -> None:
    assert wrong_histories(shop_crash.orders, shop_crash.found) == {}


def test_no_saga_runs_and_none_is_stuck(shop_crash: ShopCrash) -> None:
    statuses = {"confirmed": "completed", "cancelled": "compensated"}
    assert shop_crash.found.sagas == {order: statuses[ending] for order, ending in shop_crash.found.orders.items()}


def test_what_is_sold_is_what_was_confirmed_and_nothing_is_left_reserved(shop_crash: ShopCrash) -> None:
    confirmed = Counter(
        order.article for id, order in shop_crash.orders.items() if shop_crash.found.orders[id] == "confirmed"
    )
    for article, count in DELIVERED.items():
        sold = confirmed[article]
        assert shop_crash.found.articles[article] == {"free": count - sold, "reserved": 0, "sold": sold}


def test_of_a_rare_article_exactly_as_many_are_sold_as_there_are(shop_crash: ShopCrash) -> None:
    wanted = sum(order.article == "rare" for order in shop_crash.orders.values())
    assert wanted > DELIVERED["rare"]
    assert shop_crash.found.articles["rare"]["sold"] == DELIVERED["rare"]
    free: Counter[str] = Counter()
    for fact in shop_crash.found.facts:
        if fact.module == "stock":
            free[fact.subject] += {"Delivered": fact.data.get("count", 0), "Reserved": -1, "Released": 1}.get(
                fact.kind, 0
            )
            assert free[fact.subject] >= 0


def test_the_money_that_was_taken_is_that_of_the_confirmed_orders(shop_crash: ShopCrash) -> None:
    due: defaultdict[str, int] = defaultdict(int)
    for id, order in shop_crash.orders.items():
        due[order.customer] += CENTS * (shop_crash.found.orders[id] == "confirmed")
    assert shop_crash.found.taken == due


def test_money_is_given_back_with_the_receipt_that_it_was_taken_with(shop_crash: ShopCrash) -> None:
    receipts = {fact.order: fact.data["receipt"] for fact in shop_crash.found.of_kind("Charged")}
    refunded = {fact.order: fact.data["receipt"] for fact in shop_crash.found.of_kind("Refunded")}
    assert refunded
    assert refunded == {order: receipts[order] for order in refunded}


def test_each_fact_that_a_customer_should_know_of_leads_to_one_letter(shop_crash: ShopCrash) -> None:
    letters = Counter((fact.order, fact.data["about"]) for fact in shop_crash.found.of_kind("LetterWritten"))
    facts = Counter(
        (fact.order, fact.kind) for fact in shop_crash.found.facts if fact.kind in (*ENDINGS, "CustomerReminded")
    )
    assert letters == facts
    assert set(letters.values()) == {1}


def test_each_customer_is_reminded_once_and_no_timer_is_left(shop_crash: ShopCrash) -> None:
    reminded = Counter(fact.order for fact in shop_crash.found.of_kind("CustomerReminded"))
    assert reminded == Counter(shop_crash.orders.keys())
    assert shop_crash.found.timers == 0


def test_the_order_book_shows_what_the_orders_say(shop_crash: ShopCrash) -> None:
    assert shop_crash.found.order_book == shop_crash.found.orders


def test_nothing_was_parked(shop_crash: ShopCrash) -> None:
    assert shop_crash.found.parked == 0
    assert [entry["parked"] for entry in shop_crash.found.projections] == [0] * 3


def test_the_audit_of_each_module_finds_nothing_to_complain_about(shop_crash: ShopCrash) -> None:
    assert shop_crash.verified_with == 0, shop_crash.verified
    for module in MODULES:
        assert f"{module}: as the log says" in shop_crash.verified


def test_the_shop_that_was_started_again_fails_at_nothing(shop_crash: ShopCrash) -> None:
    assert shop_crash.stopped_with == 0
    assert [line for line in shop_crash.log_after.splitlines() if '"level": "info"' not in line] == []
