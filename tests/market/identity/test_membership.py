"""The membership system tells who is a member: signed, in time, and once for each event."""

import asyncio
import json
import time
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from craton.application import WiringError
from craton.domain import Secret
from market.identity.module import identity
from market.identity.webhooks import sign
from tests.http.client import Response
from tests.market.shop import MEMBERSHIP_SECRET, Person, Shop

PATH = "/v1/membership/webhooks"
NOBODYS = "01890a5d-ac96-774b-bcce-b302099a8057"


def notice(user: str, membership: Any = True, event_id: Any = "evt_1", **more: Any) -> bytes:
    return json.dumps(
        {
            "event_id": event_id,
            "event": "membership_status_updated",
            "user_id": user,
            "membership": membership,
            **more,
        }
    ).encode()


async def tell(
    shop: Shop, body: bytes, *, secret: str = MEMBERSHIP_SECRET, age: float = 0, of: bytes = b""
) -> Response:
    """Send a notice that was signed so many seconds ago; `of` is what was signed, if it wasn't the body."""
    signature = sign(Secret(secret), of or body, time.time() - age)
    return await shop.nobody.post(PATH, body, {"Membership-Signature": signature})


async def shown(person: Person) -> tuple[bool, list[str], int]:
    """A user's membership, roles and version."""
    user = (await person.get(f"/v1/users/{person.id}")).json
    return user["membership"], user["roles"], user["version"]


class TestANotice:
    async def test_begins_and_ends_a_membership(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")

        answer = await tell(shop_sqlite, notice(ada.id))
        assert (answer.status, answer.body) == (204, b"")
        assert await shown(ada) == (True, ["member"], 2)

        assert (await tell(shop_sqlite, notice(ada.id, False, "evt_2"))).status == 204
        assert await shown(ada) == (False, [], 3)

    async def test_counts_once_however_often_it_comes(self, shop: Shop) -> None:
        ada = await shop.register("Ada")

        assert (await tell(shop, notice(ada.id, True, "evt_1"))).status == 204
        assert (await tell(shop, notice(ada.id, False, "evt_2"))).status == 204
        assert (await tell(shop, notice(ada.id, True, "evt_1"), age=100)).status == 204
        await shop.restart()
        assert (await tell(shop, notice(ada.id, True, "evt_1"))).status == 204

        assert await shown(ada) == (False, [], 3)

    async def test_counts_once_even_if_it_comes_ten_times_at_once(self, shop: Shop) -> None:
        ada = await shop.register("Ada")

        answers = await asyncio.gather(*(tell(shop, notice(ada.id), age=age) for age in range(10)))

        assert [answer.status for answer in answers] == [204] * 10
        assert await shown(ada) == (True, ["member"], 2)

    @pytest.mark.parametrize("newest", [True, False])
    async def test_that_is_older_than_the_last_one_changes_nothing(self, shop_sqlite: Shop, newest: bool) -> None:
        ada = await shop_sqlite.register("Ada")

        assert (await tell(shop_sqlite, notice(ada.id, newest, "evt_3"), age=10)).status == 204
        assert (await tell(shop_sqlite, notice(ada.id, not newest, "evt_2"), age=20)).status == 204

        assert (await shown(ada))[0] is newest
        assert (await tell(shop_sqlite, notice(ada.id, not newest, "evt_4"), age=0)).status == 204
        assert (await shown(ada))[0] is not newest

    async def test_about_an_unknown_user_is_refused_and_may_come_again(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")

        for unknown in (NOBODYS, NOBODYS):
            answer = await tell(shop_sqlite, notice(unknown))
            assert (answer.status, answer.code) == (404, "user-not-found")
        assert (await tell(shop_sqlite, notice(ada.id))).status == 204

        await ada.delete(f"/v1/users/{ada.id}")
        assert (await tell(shop_sqlite, notice(ada.id, False, "evt_2"))).status == 404

    async def test_that_is_malformed_is_refused(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")
        whole = json.loads(notice(ada.id))
        wrong = [
            b"",
            b"{",
            b"null",
            b"[]",
            b"\xff",
            notice("ada"),
            notice(ada.id, "true"),
            notice(ada.id, 1),
            notice(ada.id, None),
            notice(ada.id, event_id=5),
            notice(ada.id, event_id=None),
            notice(ada.id, event="membership_status_deleted"),
            notice(ada.id, roles=["admin"]),
            *(json.dumps({k: v for k, v in whole.items() if k != left_out}).encode() for left_out in whole),
        ]

        answers = [await tell(shop_sqlite, body) for body in wrong]

        assert {(answer.status, answer.code) for answer in answers} == {(422, "bad-notice")}
        assert await shown(ada) == (False, [], 1)

    async def test_has_an_id_of_any_letters(self, shop: Shop) -> None:
        ada = await shop.register("Ada")

        for number, event_id in enumerate(["x" * 200, "a/b § c#1", "ü" * 50, "🥄"]):
            for _ in range(2):
                assert (await tell(shop, notice(ada.id, number % 2 == 0, event_id))).status == 204
            assert (await shown(ada))[2] == number + 2

    async def test_with_an_unstorable_id_is_refused(self, shop: Shop) -> None:
        ada = await shop.register("Ada")

        answers = [await tell(shop, notice(ada.id, event_id=event_id)) for event_id in ("", token_hex(15_000), "a\0b")]

        assert [(answer.status, answer.code) for answer in answers] == [(422, "bad-notice")] * 3

    async def test_with_a_known_id_and_another_content_is_refused(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")
        await tell(shop_sqlite, notice(ada.id, True, "evt_1"))

        answer = await tell(shop_sqlite, notice(ada.id, False, "evt_1"))

        assert (answer.status, answer.code) == (422, "idempotency-key-reused")

    async def test_is_at_most_64_kib_large(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")
        body = notice(ada.id)
        full = body + b" " * (64 * 1024 - len(body))

        assert (await tell(shop_sqlite, full)).status == 204
        answer = await tell(shop_sqlite, full + b" ")
        assert (answer.status, answer.code) == (413, "body-too-large")


class TestTheSignature:
    async def test_must_be_right(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")
        body, now = notice(ada.id), time.time()
        right = sign(Secret(MEMBERSHIP_SECRET), body, now)
        stamp, digest = right.split(",v1=")
        wrong = [
            "",
            "nonsense",
            digest,
            stamp,
            f"{stamp},v1=",
            f"{stamp},v1={digest[:-1]}",
            f"{stamp},v1={digest.upper()}",
            f"{stamp},v1={digest[::-1]}",
            f"{stamp},v0={digest}",
            f"{stamp}1,v1={digest}",
            f"t={int(now) + 1},v1={digest}",
            f"t=-{int(now)},v1={digest}",
            f"t=٣,v1={digest}".encode().decode("latin-1"),
            f"t={'9' * 400},v1={digest}",
            f"{right},v1={digest}",
            f" ,{right}",
            sign(Secret("another secret"), body, now),
            sign(Secret(""), body, now),
            sign(Secret(MEMBERSHIP_SECRET), body + b" ", now),
        ]

        answers = [await shop_sqlite.nobody.post(PATH, body, {"Membership-Signature": said}) for said in wrong]
        answers.append(await shop_sqlite.nobody.post(PATH, body))

        assert {(answer.status, answer.code) for answer in answers} == {(401, "bad-signature")}
        assert {answer.body for answer in answers} == {answers[0].body}
        assert (await shop_sqlite.nobody.post(PATH, body, {"Membership-Signature": right})).status == 204

    async def test_is_good_for_five_minutes(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")

        for age, status in ((0, 204), (290, 204), (-290, 204), (310, 401), (-310, 401), (1e9, 401)):
            assert (await tell(shop_sqlite, notice(ada.id, event_id=f"evt_{age}"), age=age)).status == status

    async def test_is_checked_before_the_notice_is_read(self, shop_sqlite: Shop) -> None:
        assert (await tell(shop_sqlite, b"{nonsense", secret="another")).status == 401  # noqa: S106

    async def test_is_never_right_without_a_secret(self, tmp_path: Path) -> None:
        for secret in ("", MEMBERSHIP_SECRET):
            settings = {"CRATON_IDENTITY_MEMBERSHIP_SECRET": ""}
            async with Shop("sqlite", tmp_path, settings=settings, modules=[identity]) as shop:
                assert (await tell(shop, notice(NOBODYS), secret=secret)).status == 401

    async def test_needs_a_secret_of_16_characters(self, tmp_path: Path) -> None:
        shop = Shop("sqlite", tmp_path, settings={"CRATON_IDENTITY_MEMBERSHIP_SECRET": "x" * 15}, modules=[identity])

        with pytest.raises(WiringError, match="CRATON_IDENTITY_MEMBERSHIP_SECRET has fewer than 16 characters"):
            async with shop:
                raise AssertionError("it must not start")
