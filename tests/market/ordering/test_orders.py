"""Orders as those who place them, look at them and carry them out see them."""

import asyncio
from typing import Any
from urllib.parse import quote

from craton.domain import Id
from market.catalog.events import ProductId
from market.ordering.api import Item, Ordering
from market.ordering.events import PayWith, UnknownBuyer
from tests.market.refusals import code_of
from tests.market.shop import PASSWORD, Person, Shop

NOBODYS = "01a1fd4f-1c5f-77dc-87c6-a76fd93d8f46"
CARD = "pm_card_visa"


def line(product: str = "spoon", quantity: Any = 1, **more: Any) -> dict[str, Any]:
    return {"product_id": product, "quantity": quantity, **more}


def order_of(*lines: Any, **more: Any) -> dict[str, Any]:
    return {"lines": list(lines), "pay_with": "card", "payment_method": CARD, **more}


async def fill_wallet(shop: Shop, owner: Person, amount: str) -> dict[str, Any]:
    money = {"money": {"amount": amount, "currency": "EUR"}, "payment_method": CARD}
    assert (await owner.post("/v2/wallet/deposit", money)).status == 202
    filled: dict[str, Any] = await shop.seen(
        owner, "/v2/wallet", lambda wallet: wallet["available"]["amount"] == amount
    )
    return filled


def waits_for_payment(saga: Any) -> bool:
    return bool({step["name"]: step["status"] for step in saga["steps"]}["paid"] == "waiting")


# --- placing ----------------------------------------------------------------------------------------------------------

WRONG = {
    "no line": (order_of(), "$.lines"),
    "101 lines": (order_of(*[line()] * 101), "$.lines"),
    "lines that are none": (order_of(lines={}), "$.lines"),
    "none of it": (order_of(line(quantity=0)), "$.lines[0].quantity"),
    "less than none": (order_of(line(), line(quantity=-1)), "$.lines[1].quantity"),
    "a part": (order_of(line(quantity=1.5)), "$.lines[0].quantity"),
    "a text": (order_of(line(quantity="1")), "$.lines[0].quantity"),
    "a boolean": (order_of(line(quantity=True)), "$.lines[0].quantity"),
    "too many": (order_of(line(quantity=1_000_001)), "$.lines[0].quantity"),
    "far too many": (order_of(line(quantity=10**30)), "$.lines[0].quantity"),
    "no quantity": (order_of({"product_id": "spoon"}), "$.lines[0]"),
    "a price of one's own": (order_of(line(unit_price={"amount": "0.01", "currency": "EUR"})), "$.lines[0]"),
    "a total of one's own": (order_of(line(), total={"amount": "0.01", "currency": "EUR"}), "$"),
    "for another buyer": (order_of(line(), buyer=NOBODYS), "$"),
    "an id that is none": (order_of(line("../../etc")), "$.lines[0].product_id"),
    "shells": (order_of(line(), pay_with="shells"), "$.pay_with"),
    "not how to pay": ({"lines": [line()]}, "$"),
    "a long method": (order_of(line(), payment_method="x" * 201), "$.payment_method"),
    "a list": ([order_of(line())], "$"),
}


async def test_what_is_no_order_is_refused_with_the_path_to_what_is_wrong_and_leaves_nothing(shop_sqlite: Shop) -> None:
    ada = await shop_sqlite.register()
    await shop_sqlite.add_product(id="spoon", stock=10)

    answers = {name: await ada.post("/v1/orders", body) for name, (body, _) in WRONG.items()}

    assert {name: (answer.status, answer.json.get("path")) for name, answer in answers.items()} == {
        name: (422, path) for name, (_, path) in WRONG.items()
    }
    assert (await ada.get("/v1/orders")).json["total"] == 0
    assert (await (await shop_sqlite.admin()).get("/v1/sagas")).json["total"] == 0


async def test_an_order_may_have_a_hundred_lines_of_the_same_product(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada = await shop.register()
    await shop.add_product("0.05", id="spoon", stock=100)

    placed = await ada.post("/v1/orders", order_of(*[line()] * 100))

    assert placed.status == 202
    order = await shop.decided(ada, placed.json["order_id"])
    assert (order["status"], order["item_count"], len(order["lines"])) == ("confirmed", 100, 100)
    assert order["total"] == {"amount": "5.00", "currency": "EUR"}
    await shop.seen(ada, "/v1/products/spoon/stock", lambda stock: (stock["on_hand"], stock["reserved"]) == (0, 0))


async def test_an_order_is_accepted_and_says_where_it_and_its_checkout_are(shop_sqlite: Shop) -> None:
    ada = await shop_sqlite.register()
    await shop_sqlite.add_product("2.50", id="spoon", stock=10)
    await shop_sqlite.add_product("45.00", id="pan", stock=10, name="Pan")

    placed = await ada.post("/v1/orders", order_of(line("spoon", 2), line("pan")))

    assert placed.status == 202
    assert placed.json.keys() == {"order_id", "saga_id"}
    assert placed.headers["location"] == f"/v1/orders/{placed.json['order_id']}"
    shown = await ada.get(placed.headers["location"], placed.position)
    assert shown.status == 200
    assert shown.headers["etag"] == f'"{shown.json["version"]}"'
    order = await shop_sqlite.decided(ada, placed.json["order_id"])
    assert order == {
        "id": placed.json["order_id"],
        "user_id": ada.id,
        "buyer_name": "Ada",
        "buyer_email": ada.email,
        "lines": [
            {
                "product_id": "spoon",
                "product_name": "Spoon",
                "quantity": 2,
                "unit_price": {"amount": "2.50", "currency": "EUR"},
                "subtotal": {"amount": "5.00", "currency": "EUR"},
            },
            {
                "product_id": "pan",
                "product_name": "Pan",
                "quantity": 1,
                "unit_price": {"amount": "45.00", "currency": "EUR"},
                "subtotal": {"amount": "45.00", "currency": "EUR"},
            },
        ],
        "item_count": 3,
        "total": {"amount": "50.00", "currency": "EUR"},
        "status": "confirmed",
        "status_display": "Confirmed",
        "placed_at": order["placed_at"],
        "version": 2,
    }


async def test_an_order_that_is_sent_again_with_its_key_is_the_same_and_another_with_it_is_refused(shop: Shop) -> None:
    ada, bob = await shop.register("Ada"), await shop.register("Bob")
    await shop.add_product(id="spoon", stock=100)
    key = {"Idempotency-Key": "my order"}

    answers = await asyncio.gather(*(ada.post("/v1/orders", order_of(line()), key) for _ in range(10)))
    other = await ada.post("/v1/orders", order_of(line(quantity=2)), key)
    bobs = await bob.post("/v1/orders", order_of(line()), key)

    assert {(answer.status, answer.body) for answer in answers} == {(202, answers[0].body)}
    assert (other.status, other.code) == (422, "idempotency-key-reused")
    assert bobs.status == 202
    assert bobs.json["order_id"] != answers[0].json["order_id"]
    assert (await ada.get("/v1/orders")).json["total"] == 1


async def test_what_is_not_on_sale_or_has_prices_in_several_currencies_is_refused(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, admin = await shop.register(), await shop.admin()
    await shop.add_product(id="spoon", stock=10)
    await shop.add_product("300", id="chopsticks", currency="JPY", stock=10)
    await shop.add_product(id="old", stock=10)
    assert (await admin.delete("/v1/products/old")).status == 204

    async def code(*lines: Any) -> tuple[int, str]:
        answer = await ada.post("/v1/orders", order_of(*lines))
        return answer.status, answer.code

    assert await code(line("ghost")) == (422, "product-not-on-sale")
    assert await code(line(), line("old")) == (422, "product-not-on-sale")
    assert await code(line(), line("chopsticks")) == (422, "mixed-currencies")
    assert (await ada.get("/v1/orders")).json["total"] == 0
    assert (await admin.put("/v1/products/old", {"active": True})).status == 204
    assert (await shop.order(ada, {"old": 1}))["status"] == "confirmed"
    assert (await shop.order(ada, {"chopsticks": 2}))["total"] == {"amount": "600", "currency": "JPY"}


async def test_a_product_that_inventory_never_had_and_one_of_which_there_are_too_few_cancel_the_order(
    shop_sqlite: Shop,
) -> None:
    shop = shop_sqlite
    ada = await shop.register()
    await shop.add_product(id="dream")
    await shop.add_product(id="rare", stock=1)
    await shop.add_product(id="spoon", stock=10)

    dream = await shop.order(ada, {"spoon": 1, "dream": 1})
    rare = await shop.order(ada, {"spoon": 1, "rare": 2})

    assert dream["status_display"] == "Cancelled (Inventory doesn't know the product dream.)"
    assert rare["status_display"] == "Cancelled (Of rare only 1 are available.)"
    assert (await shop.stock("spoon"))["available"] == 10


async def test_a_total_that_is_no_amount_or_over_the_limit_is_refused(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada = await shop.register()
    await shop.add_product("90000000000.00", id="palace", stock=1_000_000)
    await shop.add_product("10000.00", id="ring", stock=10)
    await shop.add_product("0.01", id="nail", stock=10)

    too_much = await ada.post("/v1/orders", order_of(line("palace", 1_000_000)))
    summed = await ada.post("/v1/orders", order_of(*[line("palace", 500)] * 3))

    assert [(answer.status, answer.code) for answer in (too_much, summed)] == [(422, "amount-too-large")] * 2
    assert (await shop.order(ada, {"ring": 1}))["status"] == "confirmed"
    over = await ada.post("/v1/orders", order_of(line("ring", 1), line("nail", 1)))
    assert (over.status, over.code) == (422, "order-over-limit")
    assert await shop.seen(ada, "/v1/products/ring/stock", lambda stock: stock["reserved"] == 0)


async def test_a_buyer_has_at_most_three_orders_that_keep_goods_until_he_pays(shop: Shop) -> None:
    ada, bob = await shop.register("Ada"), await shop.register("Bob")
    await shop.add_product(id="pan", stock=50)
    unpaid = {**order_of(line("pan", 1)), "pay_with": "card"}
    unpaid.pop("payment_method", None)

    answers = await asyncio.gather(*(ada.post("/v1/orders", unpaid) for _ in range(10)))

    assert sorted(answer.status for answer in answers) == [202] * 3 + [409] * 7
    assert {answer.code for answer in answers if answer.status == 409} == {"too-many-waiting"}
    waiting = [answer.json["order_id"] for answer in answers if answer.status == 202]
    assert (await shop.order(ada, {"pan": 1}))["status"] == "confirmed"  # who pays at once needn't wait
    assert (await bob.post("/v1/orders", unpaid)).status == 202
    card = {**order_of(line("pan", 1)), "payment_method": "pm_card_authentication"}
    checked = (await ada.post("/v1/orders", card)).json["order_id"]  # its card asks for a check, which nobody makes
    ended = await shop.seen(ada, f"/v1/orders/{checked}", lambda order: order["status"] == "cancelled")
    assert ended["status_display"] == "Cancelled (too many orders wait for their payment)"
    assert (await ada.post(f"/v1/orders/{waiting[0]}/cancel", {"reason": "too many"})).status == 204
    assert (await ada.post("/v1/orders", unpaid)).status == 202


async def test_an_order_costs_what_its_products_cost_when_it_was_placed(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, admin = await shop.register(), await shop.admin()
    await shop.add_product("2.50", id="spoon", stock=10)
    before = await shop.order(ada, {"spoon": 2})

    changed = await admin.put("/v1/products/spoon", {"price": {"amount": "3.00", "currency": "EUR"}})
    after = await shop.order(ada, {"spoon": 2})

    assert changed.status == 204
    assert (await ada.get(f"/v1/orders/{before['id']}")).json["total"]["amount"] == "5.00"
    assert after["total"]["amount"] == "6.00"
    payments = (await ada.get(f"/v2/payments?order={after['id']}")).json["items"]
    assert [payment["amount"]["amount"] for payment in payments] == ["6.00"]


async def test_who_was_deleted_orders_nothing_and_what_he_has_ordered_goes_on_without_his_name(
    shop_sqlite: Shop,
) -> None:
    shop = shop_sqlite
    ada, admin = await shop.register(), await shop.admin()
    await shop.add_product(id="spoon", stock=10)
    order = await shop.order(ada, {"spoon": 1})
    assert (await ada.delete(f"/v1/users/{ada.id}")).status == 204

    by_token = await ada.post("/v1/orders", order_of(line()))
    item = Item(product_id=ProductId("spoon"), quantity=1)
    by_module = await code_of(shop.api(Ordering).place(Id(ada.id), (item,), PayWith.CARD))

    assert by_token.status == 401
    assert by_module == UnknownBuyer.code
    shown = await shop.seen(admin, f"/v1/orders/{order['id']}", lambda shown: shown["buyer_name"] == "")
    assert (shown["buyer_email"], shown["status"]) == ("", "confirmed")
    assert (await admin.post(f"/v1/orders/{order['id']}/ship")).status == 204


# --- how far it got ---------------------------------------------------------------------------------------------------


async def test_each_status_allows_what_follows_it_and_nothing_else(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    admin = await shop.admin()
    await shop.add_product(id="spoon", stock=20)
    verbs: dict[str, Any] = {"ship": None, "deliver": None, "cancel": {"reason": "no need"}}
    ways: dict[str, list[str]] = {
        "confirmed": [],
        "shipped": ["ship"],
        "delivered": ["ship", "deliver"],
        "cancelled": ["ship", "cancel"],
    }
    allowed: dict[str, set[str]] = {"confirmed": {"ship", "cancel"}, "shipped": {"deliver", "cancel"}}
    found: dict[str, set[str]] = {}
    for status, way in ways.items():
        for verb, body in verbs.items():
            order = await shop.order(admin, {"spoon": 1})
            for step in way:
                assert (await admin.post(f"/v1/orders/{order['id']}/{step}", verbs[step])).status == 204
            shown = (await admin.get(f"/v1/orders/{order['id']}")).json
            assert shown["status"] == status
            assert shown["status_display"] == ("Cancelled (no need)" if status == "cancelled" else status.capitalize())
            answer = await admin.post(f"/v1/orders/{order['id']}/{verb}", body)
            if answer.status == 204:
                found.setdefault(status, set()).add(verb)
            else:
                assert (answer.status, answer.code) == (409, "wrong-status")
                assert (await admin.get(f"/v1/orders/{order['id']}")).json == shown
    assert found == allowed


async def test_a_pending_order_is_neither_shipped_nor_delivered_but_may_be_cancelled(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, admin = await shop.register(), await shop.admin()
    await shop.add_product(id="spoon", stock=10)
    order = await shop.place(ada, {"spoon": 1}, method="pm_card_unreachable")
    await shop.seen(ada, f"/v1/sagas/{order}", waits_for_payment)

    refused = [await admin.post(f"/v1/orders/{order}/{verb}") for verb in ("ship", "deliver")]
    shown = (await ada.get(f"/v1/orders/{order}")).json
    cancelled = await ada.post(f"/v1/orders/{order}/cancel", {"reason": " I have\nthought again "})

    assert [(answer.status, answer.code) for answer in refused] == [(409, "wrong-status")] * 2
    assert (shown["status"], shown["status_display"]) == ("pending", "Pending")
    assert cancelled.status == 204
    assert (await ada.get(f"/v1/orders/{order}")).json["status_display"] == "Cancelled (I have\nthought again)"
    await shop.seen(ada, f"/v1/sagas/{order}", lambda saga: saga["status"] == "compensated")
    assert (await shop.stock("spoon"))["reserved"] == 0


async def test_a_cancellation_needs_a_reason(shop_sqlite: Shop) -> None:
    ada = await shop_sqlite.register()
    await shop_sqlite.add_product(id="spoon", stock=10)
    order = await shop_sqlite.order(ada, {"spoon": 1})

    wrong = [
        None,
        {},
        {"reason": ""},
        {"reason": " \t\n"},
        {"reason": 1},
        {"reason": "x" * 5_001},
        {"reason": "x", "to": 1},
    ]
    answers = [await ada.post(f"/v1/orders/{order['id']}/cancel", body) for body in wrong]

    assert [answer.status for answer in answers] == [422] * len(wrong)
    assert (await ada.post(f"/v1/orders/{order['id']}/cancel", {"reason": "x" * 5_000})).status == 204


async def test_who_has_not_seen_the_newest_version_cancels_nothing(shop_sqlite: Shop) -> None:
    ada = await shop_sqlite.register()
    await shop_sqlite.add_product(id="spoon", stock=10)
    order = await shop_sqlite.order(ada, {"spoon": 1})
    path, reason = f"/v1/orders/{order['id']}/cancel", {"reason": "no need"}

    stale = await ada.post(path, reason, {"If-Match": '"1"'})
    fresh = await ada.post(path, reason, {"If-Match": '"2"'})

    assert (stale.status, fresh.status) == (412, 204)


# --- who may what -----------------------------------------------------------------------------------------------------


async def test_buyers_see_and_cancel_their_own_orders_staff_carries_them_out_and_admins_see_all(
    shop_sqlite: Shop,
) -> None:
    shop = shop_sqlite
    ada, bob, carrier, admin = [
        *[await shop.register(name) for name in ("Ada", "Bob", "Carrier")],
        await shop.admin(),
    ]
    assert (await admin.put(f"/v1/users/{carrier.id}/roles", {"roles": ["service"]})).status == 204
    await shop.add_product(id="spoon", stock=10)
    orders = [(await shop.order(ada, {"spoon": 1}))["id"] for _ in range(2)]
    await shop.order(bob, {"spoon": 1})

    async def statuses(method: str, path: str, body: Any = None) -> list[int]:
        people = (shop.nobody, bob, carrier, ada, admin)
        return [(await person.request(method, path, body)).status for person in people]

    assert await statuses("GET", f"/v1/orders/{orders[0]}") == [401, 403, 403, 200, 200]
    assert await statuses("GET", f"/v1/sagas/{orders[0]}") == [401, 403, 403, 200, 200]
    assert await statuses("GET", f"/v1/orders?user_id={ada.id}") == [401, 403, 403, 200, 200]
    assert await statuses("GET", "/v1/sagas") == [401, 403, 403, 403, 200]
    assert await statuses("POST", f"/v1/sagas/{orders[0]}/compensate", {"reason": "x"}) == [401, 403, 403, 403, 409]
    assert await statuses("POST", f"/v1/orders/{orders[0]}/cancel", {"reason": "x"}) == [401, 403, 403, 204, 409]
    assert await statuses("POST", f"/v1/orders/{orders[1]}/ship") == [401, 403, 204, 403, 409]
    assert await statuses("POST", f"/v1/orders/{orders[1]}/deliver") == [401, 403, 204, 403, 409]
    assert await statuses("POST", f"/v1/orders/{NOBODYS}/ship") == [401, 403, 404, 403, 404]
    assert await statuses("GET", f"/v1/orders/{NOBODYS}") == [401, 404, 404, 404, 404]
    assert await statuses("GET", "/v1/orders/not-an-id") == [401, 422, 422, 422, 422]
    totals = [(await person.get("/v1/orders")).json["total"] for person in (ada, bob, carrier, admin)]
    assert totals == [2, 1, 0, 3]


# --- looking at them --------------------------------------------------------------------------------------------------


async def test_orders_are_listed_newest_first_by_buyer_status_and_time(shop: Shop) -> None:
    ada, bob, admin = await shop.register("Ada"), await shop.register("Bob"), await shop.admin()
    await shop.add_product(id="spoon", stock=10)
    orders = [await shop.order(buyer, {"spoon": 1}) for buyer in (ada, bob, ada, bob, ada)]
    assert (await ada.post(f"/v1/orders/{orders[2]['id']}/cancel", {"reason": "no need"})).status == 204
    assert (await admin.post(f"/v1/orders/{orders[3]['id']}/ship")).status == 204
    numbers = {order["id"]: number for number, order in enumerate(orders)}
    second, fourth = (quote(orders[number]["placed_at"]) for number in (1, 3))

    async def listed(person: Person, query: str) -> list[int]:
        answer = await person.get(f"/v1/orders?{query}")
        assert answer.status == 200, answer
        assert answer.json["total"] == len(answer.json["items"])
        return [numbers[item["id"]] for item in answer.json["items"]]

    assert await listed(admin, "") == [4, 3, 2, 1, 0]
    assert await listed(ada, "") == await listed(admin, f"user_id={ada.id}") == [4, 2, 0]
    assert await listed(admin, "status=confirmed") == [4, 1, 0]
    assert await listed(admin, f"status=confirmed&user_id={bob.id}") == [1]
    assert await listed(ada, "status=shipped") == []
    assert await listed(bob, "status=shipped") == [3]
    assert await listed(admin, "status=cancelled") == [2]
    assert await listed(admin, f"from={second}") == [4, 3, 2, 1]
    assert await listed(admin, f"from={second}&to={fourth}") == [2, 1]
    assert await listed(admin, f"from={second}&to={fourth}&status=cancelled") == [2]
    assert await listed(admin, f"to={second}&user_id={NOBODYS}") == []
    assert await listed(admin, f"from={fourth}&to={second}") == []
    page = (await admin.get("/v1/orders?page=2&page_size=2")).json
    assert [numbers[item["id"]] for item in page.pop("items")] == [2, 1]
    assert page == {"total": 5, "page": 2, "page_size": 2, "total_pages": 3}
    for query, path in {
        "status=lost": "$.status",
        "from=today": "$.from",
        "to=": "$.to",
        "user_id=x": "$.user_id",
    }.items():
        answer = await admin.get(f"/v1/orders?{query}")
        assert (answer.status, answer.json.get("path")) == (422, path)


async def test_a_product_and_a_user_who_are_renamed_show_their_new_names_in_old_orders(shop: Shop) -> None:
    ada, admin = await shop.register(), await shop.admin()
    await shop.add_product(id="spoon", stock=10)
    order = (await shop.order(ada, {"spoon": 1}))["id"]

    assert (await admin.put("/v1/products/spoon", {"name": "Ladle"})).status == 204
    change = {"name": "Countess", "email": "ada@lovelace.example", "current_password": PASSWORD}
    changed = await ada.put(f"/v1/users/{ada.id}", change)
    assert changed.status == 204

    def renamed(shown: Any) -> bool:
        names = (shown["buyer_name"], shown["buyer_email"], shown["lines"][0]["product_name"])
        return names == ("Countess", "ada@lovelace.example", "Ladle")

    await shop.seen(ada, f"/v1/orders/{order}", renamed)
    await shop.seen(admin, "/v1/orders", lambda page: renamed(page["items"][0]))


# --- the checkout -----------------------------------------------------------------------------------------------------


async def steps_of(shop: Shop, buyer: Person, order: str, status: str) -> dict[str, Any]:
    saga = await shop.seen(buyer, f"/v1/sagas/{order}", lambda saga: saga["status"] == status)
    assert saga["saga"] == "Checkout"
    assert saga["ended_at"] is not None
    return {step["name"]: step for step in saga["steps"]}


async def test_the_buyer_sees_each_step_of_a_checkout_that_has_succeeded(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada = await shop.register()
    await shop.add_product(id="spoon", stock=10)
    order = (await shop.order(ada, {"spoon": 1}))["id"]

    steps = await steps_of(shop, ada, order, "completed")

    names = ["begin", "reserve", "pay", "paid", "confirm", "collect", "take_goods", "schedule"]
    assert list(steps) == names
    assert {(step["status"], step["attempts"], step["error"], step["code"]) for step in steps.values()} == {
        ("done", 1, "", "")
    }
    times = [steps[name]["begun_at"] for name in names[:5]]
    assert all(times) and times == sorted(times)
    assert all(step["begun_at"] <= step["ended_at"] for step in steps.values())


async def test_the_buyer_sees_which_step_of_a_checkout_was_refused_why_and_what_was_undone(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada = await shop.register()
    await shop.add_product(id="spoon", stock=10)
    order = await shop.order(ada, {"spoon": 1}, method="pm_card_declined")

    steps = await steps_of(shop, ada, order["id"], "compensated")

    assert order["status_display"] == "Cancelled (The payment has failed: card_declined.)"
    assert (steps["paid"]["status"], steps["paid"]["code"]) == ("refused", "payment-refused")
    assert steps["paid"]["error"] == "The payment has failed: card_declined."
    assert [steps[name]["status"] for name in ("begin", "reserve", "pay")] == ["undone"] * 3
    assert {steps[name]["status"] for name in ("confirm", "collect", "take_goods", "schedule")} == {"idle"}


async def test_an_operator_who_stops_a_checkout_cancels_the_order_with_his_reason_but_not_when_it_is_confirmed(
    shop_sqlite: Shop,
) -> None:
    shop = shop_sqlite
    ada, admin = await shop.register(), await shop.admin()
    await shop.add_product(id="spoon", stock=10)
    waiting = await shop.place(ada, {"spoon": 1}, method="pm_card_unreachable")
    confirmed = await shop.order(ada, {"spoon": 1})
    await shop.seen(ada, f"/v1/sagas/{waiting}", waits_for_payment)

    stopped = await admin.post(f"/v1/sagas/{waiting}/compensate", {"reason": "the shop is closing"})
    refused = await admin.post(f"/v1/sagas/{confirmed['id']}/compensate", {"reason": "the shop is closing"})

    assert (stopped.status, refused.status) == (204, 409)
    assert (await shop.decided(ada, waiting))["status_display"] == "Cancelled (the shop is closing)"
    await shop.seen(ada, "/v1/products/spoon/stock", lambda stock: (stock["on_hand"], stock["reserved"]) == (9, 0))
    (payment,) = (await ada.get(f"/v2/payments?order={waiting}")).json["items"]
    assert (payment["status"], payment["reason"]) == ("failed", "called off")


# --- from the wallet --------------------------------------------------------------------------------------------------


async def wallet_events(shop: Shop, owner: Person) -> list[str]:
    """What has happened to somebody's wallet, oldest first."""
    wallet = (await owner.get("/v2/wallet")).json
    events = (await owner.get(f"/v1/accounts/{wallet['id']}/events")).json["items"]
    return [event["type"] for event in reversed(events)]


async def test_an_order_that_is_paid_from_the_wallet_is_held_collected_and_given_back_when_it_is_cancelled(
    shop: Shop,
) -> None:
    ada = await shop.register()
    await shop.add_product("2.50", id="spoon", stock=10)
    await fill_wallet(shop, ada, "20.00")

    order = await shop.order(ada, {"spoon": 2}, "wallet")
    assert order["status"] == "confirmed"
    spent = await shop.seen(ada, "/v2/wallet", lambda wallet: wallet["balance"]["amount"] == "15.00")
    assert spent["held"]["amount"] == "0.00"
    assert await wallet_events(shop, ada) == [
        "AccountOpened",
        "MoneyCredited",
        "MoneyHeld",
        "HoldReleased",
        "MoneyDebited",
    ]

    assert (await ada.post(f"/v1/orders/{order['id']}/cancel", {"reason": "no need"})).status == 204
    back = await shop.seen(ada, "/v2/wallet", lambda wallet: wallet["balance"]["amount"] == "20.00")
    assert back["available"]["amount"] == "20.00"
    assert (await wallet_events(shop, ada))[5:] == ["MoneyCredited"]
    admin = await shop.admin()
    lines = (await admin.get("/v1/trial-balance")).json["lines"]
    assert [line["difference"]["amount"] for line in lines] == ["0.00"]


async def test_a_wallet_pays_for_as_many_orders_at_once_as_its_money_is_enough_for(shop: Shop) -> None:
    ada = await shop.register()
    await shop.add_product("2.50", id="spoon", stock=100)
    await fill_wallet(shop, ada, "10.00")

    orders = await asyncio.gather(*(shop.order(ada, {"spoon": 1}, "wallet") for _ in range(10)))

    displays = [order["status_display"] for order in orders]
    assert displays.count("Confirmed") == 4
    assert displays.count("Cancelled (The payment has failed: insufficient-funds.)") == 6
    empty = await shop.seen(ada, "/v2/wallet", lambda wallet: wallet["balance"]["amount"] == "0.00")
    assert empty["held"]["amount"] == "0.00"
    await shop.seen(ada, "/v1/products/spoon/stock", lambda stock: (stock["on_hand"], stock["reserved"]) == (96, 0))


async def test_a_wallet_in_another_currency_or_an_empty_one_pays_for_nothing(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada = await shop.register()
    await shop.add_product("300", id="chopsticks", currency="JPY", stock=10)
    await fill_wallet(shop, ada, "20.00")

    order = await shop.order(ada, {"chopsticks": 1}, "wallet")

    assert order["status_display"] == "Cancelled (The payment has failed: insufficient-funds.)"
    assert (await ada.get("/v2/wallet")).json["available"]["amount"] == "20.00"
