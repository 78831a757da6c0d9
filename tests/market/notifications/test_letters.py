"""Letters: each event has one, and it is sent as soon as possible."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from craton.domain import Id, Name, Text
from craton.domain.world import now
from craton.testing import TurnedClock, until
from market.notifications.api import Notifications
from market.notifications.domain import FIRST_PAUSE, Letter
from market.notifications.events import LetterId, LetterSent, Undeliverable
from market.shipping.events import ShipmentId
from tests.cli.conftest import craton
from tests.market.notifications.post_office import PostOfficeBox
from tests.market.shop import PASSWORD, Person, Shop
from tests.parking import ask

REASON = "It fell off the lorry: see https://evil.example.com"


@asynccontextmanager
async def shop_with(
    office: PostOfficeBox, folder: Path, url: str = "sqlite", clock: Callable[[], datetime] = now, **settings: str
) -> AsyncIterator[Shop]:
    """The market, which sends its mail to this server."""
    shop = Shop(url, folder, settings={**office.settings, **settings}, clock=clock)
    try:
        async with shop:
            yield shop
    finally:
        await shop.drop()


async def letters(shop: Shop, who: Person, query: str = "") -> list[Any]:
    return list((await who.get(f"/v1/notifications{query}")).json["items"])


async def parked(shop: Shop) -> list[Any]:
    return list(await shop.app.running["notifications"].store.parked())


async def write(shop: Shop, user: Person, subject: str, about: str = "") -> LetterId:
    """Write to a user; `about` is the id of the event that the letter is about."""
    id = LetterId.derived(about or Id.new())
    await shop.api(Notifications).write(id, Id(user.id), Name(subject), Text("Something has happened."))
    return id


# --- what is written -----------------------------------------------------------------------------------------


async def test_people_are_written_to_about_what_happens_to_their_orders(store_url: str, tmp_path: Path) -> None:
    async with PostOfficeBox().open() as office, shop_with(office, tmp_path, store_url) as shop:
        ada, admin = await shop.register("Ada"), await shop.admin()
        product = await shop.add_product("12.34", stock=2)
        order = (await shop.order(ada, {product: 2}))["id"]
        await admin.post(f"/v1/orders/{order}/ship")
        await ada.post(f"/v1/orders/{order}/cancel", {"reason": REASON})

        wanted = ("Welcome", "Order confirmation", "Order shipped", "Order cancelled", "Payment refunded")
        await office.arrived(ada.email, *wanted)

        def text(subject: str) -> str:
            (mail,) = [mail for mail in office.mails if mail["to"] == ada.email and mail["subject"] == subject]
            return str(mail.get_content())  # type: ignore[attr-defined]

        assert all(text(subject).startswith("Hello,") for subject in wanted)
        assert not any(
            "Ada" in text(subject) or "lorry" in text(subject) for subject in wanted
        )  # users have typed these
        assert f"{order} over 24.68 EUR" in text("Order confirmation")
        assert ShipmentId.derived(Id(order)).tracking_number in text("Order shipped")
        assert order in text("Order cancelled")
        assert "24.68 EUR" in text("Payment refunded")
        assert {mail["from"] for mail in office.mails} == {"market@shop.example.org"}
        ids = [mail["message-id"] for mail in office.mails]
        assert len(set(ids)) == len(ids)
        shown = await shop.seen(
            ada, "/v1/notifications", lambda page: {item["status"] for item in page["items"]} == {"sent"}
        )
        assert sorted(item["subject"] for item in shown["items"]) == sorted(wanted)


async def test_without_a_server_mails_are_files(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada = await shop.register("Ada")

    async def welcomed() -> bool:
        return len(shop.letters(ada.email)) == 1

    await until(welcomed)
    (mail,) = shop.letters(ada.email)
    (shown,) = await letters(shop, ada)
    assert (mail["subject"], mail["message-id"]) == ("Welcome", f"<{shown['id']}@example.com>")
    assert {file.suffix for file in shop.mails.iterdir()} == {".eml"}


async def test_an_event_has_one_letter_however_often_it_is_handled(tmp_path: Path) -> None:
    async with PostOfficeBox().open() as office, shop_with(office, tmp_path) as shop:
        ada = await shop.register("Ada")

        await asyncio.gather(*(write(shop, ada, "Once", "event-1") for _ in range(6)))
        await office.arrived(ada.email, "Welcome", "Once")
        await until_recorded(shop, "LetterSent", 2)  # what was in flight might be sent again after the restart
        await shop.restart()
        await write(shop, ada, "Once again", "event-1")
        last = await write(shop, ada, "Last", "event-2")

        await office.arrived(ada.email, "Welcome", "Once", "Last")
        for _ in range(2):
            await shop.api(Notifications).sent(last)
        await until_recorded(shop, "LetterSent", 1, last)
        assert await recorded(shop, "LetterSent", last) == 1


async def test_letters_go_to_current_addresses_and_not_to_deleted_users(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, bob = await shop.register("Ada"), await shop.register("Bob")
    changed = {"email": "ada@new.example.org", "name": "Lady Ada", "current_password": PASSWORD}
    assert (await ada.put(f"/v1/users/{ada.id}", changed)).status == 204
    await bob.delete(f"/v1/users/{bob.id}")

    await write(shop, ada, "To Ada")
    await write(shop, bob, "To Bob")
    await write(shop, Person(shop, Id.new()), "To nobody")

    async def arrived() -> bool:
        return len(shop.letters("ada@new.example.org")) == 1

    await until(arrived)
    subjects = {str(mail["subject"]) for mail in shop.letters()}
    assert subjects - {"Your e-mail address"} == {"Welcome", "To Ada"}
    assert await parked(shop) == []


@pytest.mark.parametrize(
    ("changed", "subject"),
    [({"email": "new@example.com"}, "Your e-mail address"), ({"password": "quite another one"}, "Your password")],
)
async def test_a_change_of_password_or_address_is_told_at_the_former_address(
    shop_sqlite: Shop, changed: dict[str, str], subject: str
) -> None:
    shop = shop_sqlite
    ada = await shop.register("Ada")
    assert (await ada.put(f"/v1/users/{ada.id}", {**changed, "current_password": PASSWORD})).status == 204

    async def told() -> bool:
        return subject in {str(mail["subject"]) for mail in shop.letters(ada.email)}

    await until(told)
    (mail,) = [mail for mail in shop.letters(ada.email) if mail["subject"] == subject]
    assert "new@example.com" not in mail.get_content()  # type: ignore[attr-defined]


async def test_an_address_gets_ten_letters_a_day_and_further_ones_wait(tmp_path: Path) -> None:
    clock, limit = TurnedClock(), {"CRATON_NOTIFICATIONS_LETTERS_A_DAY": ""}
    async with PostOfficeBox().open() as office, shop_with(office, tmp_path, clock=clock, **limit) as shop:
        ada, bob = await shop.register("Ada"), await shop.register("Bob")
        for number in range(12):  # and there was the welcome
            await write(shop, ada, f"Letter {number}")
        await write(shop, bob, "To Bob")

        await office.arrived(bob.email, "Welcome", "To Bob")
        await until_recorded(shop, "LetterHeldBack", 3)
        assert len([mail for mail in office.mails if mail["to"] == ada.email]) == 10
        changed = {"email": "new@example.com", "password": "quite another one", "current_password": PASSWORD}
        assert (await ada.put(f"/v1/users/{ada.id}", changed)).status == 204
        assert (await (await shop.login("new@example.com", changed["password"])).delete(f"/v1/users/{ada.id}")).status
        told = ("Your e-mail address", "Your password")
        await office.arrived(ada.email, *first_ten(office, ada.email), *told)  # both tell of changes to the account

        clock.turn(days=1)
        await write(shop, bob, "Tomorrow")
        await office.arrived(bob.email, "Welcome", "To Bob", "Tomorrow")
        assert await parked(shop) == []


async def test_what_was_held_back_is_sent_the_next_day(tmp_path: Path) -> None:
    clock, limit = TurnedClock(), {"CRATON_NOTIFICATIONS_LETTERS_A_DAY": "2"}
    async with PostOfficeBox().open() as office, shop_with(office, tmp_path, clock=clock, **limit) as shop:
        ada = await shop.register("Ada")
        for number in range(3):  # and there was the welcome
            await write(shop, ada, f"Letter {number}")
        await until_recorded(shop, "LetterHeldBack", 2)

        clock.turn(days=1)

        await office.arrived(ada.email, "Welcome", *(f"Letter {number}" for number in range(3)))
        assert await parked(shop) == []


def first_ten(office: PostOfficeBox, address: str) -> list[str]:
    return [str(mail["subject"]) for mail in office.mails if mail["to"] == address][:10]


# --- when it can't be sent -----------------------------------------------------------------------------------


async def test_a_mail_server_that_is_down_delays_mail_and_nothing_else(store_url: str, tmp_path: Path) -> None:
    office = PostOfficeBox()
    async with office.open():
        port = office.port
    async with shop_with(office, tmp_path, store_url) as shop:
        ada, admin, product = await shop.register("Ada"), await shop.admin(), await shop.add_product(stock=5)

        orders = [(await shop.order(ada, {product: 1}))["id"] for _ in range(3)]
        await admin.post(f"/v1/orders/{orders[0]}/ship")
        await ada.post(f"/v1/orders/{orders[1]}/cancel", {"reason": "too late"})
        await shop.seen(ada, f"/v2/payments?order={orders[1]}", lambda page: page["items"][0]["status"] == "refunded")

        shown = await shop.seen(ada, "/v1/notifications", lambda page: page["total"] == 7)
        assert {item["status"] for item in shown["items"]} == {"queued"}
        async with office.open(port):
            subjects = ("Welcome", *["Order confirmation"] * 3, "Order shipped", "Order cancelled", "Payment refunded")
            await office.arrived(ada.email, *subjects)
            assert await parked(shop) == []


async def test_mail_that_waits_is_sent_by_the_next_process(tmp_path: Path) -> None:
    office = PostOfficeBox()
    async with office.open():
        port = office.port
    async with shop_with(office, tmp_path) as shop:
        ada = await shop.register("Ada")
        await shop.restart()
        async with office.open(port):
            await office.arrived(ada.email, "Welcome")


async def test_a_letter_that_is_refused_for_good_is_parked_and_others_are_sent(tmp_path: Path) -> None:
    office = PostOfficeBox({"gone@example.com": "550 no such user"})
    async with office.open(), shop_with(office, tmp_path) as shop:
        gone = await shop.register("Gone", email="gone@example.com")
        ada = await shop.register("Ada")
        await office.arrived(ada.email, "Welcome")

        async def is_parked() -> bool:
            return bool(await parked(shop))

        await until(is_parked)
        (entry,) = await parked(shop)
        assert entry.subscription == "notifications.post@notifications"
        assert "550" in entry.error
        metrics = await shop.metrics()
        assert 'craton_reader_parked_events{reader="notifications.post",source="notifications"} 1.0' in metrics
        tried = office.tried["gone@example.com"]
        await write(shop, ada, "Another")
        await office.arrived(ada.email, "Welcome", "Another")
        assert office.tried["gone@example.com"] == tried == 1  # a final refusal isn't tried again
        assert (await letters(shop, gone))[0]["status"] == "queued"

        office.refused.clear()  # the mailbox exists now, and an operator asks for a retry
        assert await ask(shop.app.running["notifications"].store, entry.subscription, entry.position, "retry")
        await office.arrived("gone@example.com", "Welcome")

        async def none_parked() -> bool:
            return not await parked(shop)

        await until(none_parked)


async def test_an_operator_sees_what_is_parked(tmp_path: Path) -> None:
    office = PostOfficeBox({"gone@example.com": "550 no such user"})
    async with office.open(), shop_with(office, tmp_path) as shop:
        await shop.register("Gone", email="gone@example.com")

        async def is_parked() -> bool:
            return bool(await parked(shop))

        await until(is_parked)
    listed = await asyncio.to_thread(
        craton, "parked", "list", "--json", "--data", str(tmp_path), env={"CRATON_APP": "market.app:app"}
    )

    assert listed.code == 0, listed.err
    (record,) = listed.records
    assert (record["module"], record["reader"]) == ("notifications", "notifications.post@notifications")
    assert "550" in record["error"]


async def test_a_mailbox_that_is_busy_delays_nobody_elses_mail(tmp_path: Path) -> None:
    office = PostOfficeBox({"busy@example.com": "450 mailbox busy"})
    async with office.open(), shop_with(office, tmp_path) as shop:
        await shop.register("Busy", email="busy@example.com")
        await until_tried(office, 1)
        ada = await shop.register("Ada")

        await office.arrived(ada.email, "Welcome", seconds=3)

        assert office.tried["busy@example.com"] == 1


async def until_tried(office: PostOfficeBox, times: int) -> None:
    async def tried() -> bool:
        return office.tried["busy@example.com"] >= times

    await until(tried)


async def test_a_mailbox_that_was_busy_gets_its_mail_once_when_it_is_due(tmp_path: Path) -> None:
    office, clock = PostOfficeBox({"busy@example.com": "450 mailbox busy"}), TurnedClock()
    async with office.open(), shop_with(office, tmp_path, clock=clock) as shop:
        await shop.register("Busy", email="busy@example.com")
        for times in (1, 2):
            await until_tried(office, times)
            await until_recorded(shop, "LetterDelayed", times)
            clock.turn(seconds=FIRST_PAUSE.total_seconds() * times - 1)
            await asyncio.sleep(0.3)
            assert office.tried["busy@example.com"] == times  # not before it is due
            if times == 2:
                office.refused.clear()
            clock.turn(seconds=2)

        await office.arrived("busy@example.com", "Welcome")

        await until_recorded(shop, "LetterSent", 1)
        assert await recorded(shop, "LetterDue") == 2
        assert office.tried["busy@example.com"] == 3
        assert await parked(shop) == []


async def test_a_letter_that_was_sent_is_not_sent_again(tmp_path: Path) -> None:
    async with PostOfficeBox().open() as office, shop_with(office, tmp_path) as shop:
        ada = await shop.register("Ada")
        letter = await write(shop, ada, "Once")
        await office.arrived(ada.email, "Welcome", "Once")
        await until_recorded(shop, "LetterSent", 1, letter)

        assert await shop.api(Notifications).to_post(letter) is None
        await shop.api(Notifications).try_again(letter)
        await write(shop, ada, "Last")

        await office.arrived(ada.email, "Welcome", "Once", "Last")
        assert await recorded(shop, "LetterDue") == 0


def test_a_letter_is_tried_again_eight_times_each_after_twice_the_pause() -> None:
    letter = Letter.write(LetterId.derived("x"), Id.new(), Text("ada@example.com"), Name("Hi"), Text("Hi."))

    pauses = [letter.delay(Text("busy")) for _ in range(8)]
    with pytest.raises(Undeliverable) as given_up:
        letter.delay(Text("the server says 450"))

    assert [pause.total_seconds() / 60 for pause in pauses] == [5, 10, 20, 40, 80, 160, 320, 640]
    assert str(given_up.value) == "The letter can't be delivered: the server says 450."
    letter.sent()  # it was sent after all
    letter.try_again()
    assert isinstance(letter.recorded[-1], LetterSent)


async def test_a_letter_that_was_delayed_too_often_is_parked(tmp_path: Path) -> None:
    office = PostOfficeBox({"busy@example.com": "450 mailbox busy"})
    async with office.open(), shop_with(office, tmp_path) as shop:
        busy = await shop.register("Busy", email="busy@example.com")
        await until_recorded(shop, "LetterDelayed", 1)
        await shop.seen(busy, "/v1/notifications", lambda page: page["total"] == 1)
        (letter,) = await letters(shop, busy)
        id = LetterId(letter["id"])
        for _ in range(7):
            await shop.api(Notifications).delay(id, Text("busy"))

        await shop.api(Notifications).try_again(id)

        async def is_parked() -> bool:
            return bool(await parked(shop))

        await until(is_parked)
        (entry,) = await parked(shop)
        assert "450" in entry.error


async def test_names_and_subjects_cannot_add_headers(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    name = "Ada\r\nBcc: eve@example.com"

    refused = await shop.nobody.post("/v1/users", {"email": "ada@example.com", "name": name, "password": PASSWORD})

    assert (refused.status, refused.code, refused.json["path"]) == (422, "invalid-value", "$.name")
    with pytest.raises(ValueError, match="control characters"):
        Name("Hi\r\nBcc: eve@example.com")


async def recorded(shop: Shop, kind: str, letter: str = "") -> int:
    """How many events of a kind are recorded, for one letter or for all."""
    events = [event async for event in shop.app.running["notifications"].source.stored()]
    return len([event for event in events if event.type == kind and event.stream.endswith(letter)])


async def until_recorded(shop: Shop, kind: str, times: int, letter: str = "") -> None:
    async def there() -> bool:
        return await recorded(shop, kind, letter) >= times

    await until(there)


# --- access -------------------------------------------------------------------------------------------------


async def test_users_read_their_own_letters_and_administrators_all(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, bob, admin = await shop.register("Ada"), await shop.register("Bob"), await shop.admin()
    await write(shop, ada, "For Ada's eyes")
    await shop.seen(ada, "/v1/notifications", lambda page: page["total"] == 2)
    await shop.seen(bob, "/v1/notifications", lambda page: page["total"] == 1)

    assert [item["subject"] for item in await letters(shop, ada)] == ["For Ada's eyes", "Welcome"]  # newest first
    assert [item["subject"] for item in await letters(shop, ada, f"?user={ada.id}&page_size=1&page=2")] == ["Welcome"]
    assert {item["user"] for item in await letters(shop, bob)} == {bob.id}
    assert {item["user"] for item in await letters(shop, admin)} >= {ada.id, bob.id}
    assert {item["user"] for item in await letters(shop, admin, f"?user={ada.id}")} == {ada.id}
    refused = await bob.get(f"/v1/notifications?user={ada.id}")
    assert (refused.status, refused.code) == (403, "access-denied")
    assert (await shop.nobody.get("/v1/notifications")).status == 401
    assert (await ada.get("/v1/notifications?user=x")).status == 422


async def test_the_lag_of_each_policy_is_in_the_metrics(shop_sqlite: Shop) -> None:
    await shop_sqlite.register("Ada")
    readers = re.compile(r'craton_reader_lag_events\{reader="([^"]+)",source="([^"]+)"\} (\S+)')

    async def none_is_behind() -> bool:
        metrics = await shop_sqlite.metrics()
        found = readers.findall(metrics)
        assert ("notifications.write", "identity") in {(reader, source) for reader, source, _ in found}
        assert ("ordering.Checkout.paid", "payments") in {(reader, source) for reader, source, _ in found}
        return {float(lag) for _, _, lag in found} == {0.0}

    await until(none_is_behind)
