"""The first administrator: there at the first start, as the settings say or with a password that is shown once."""

import asyncio
from pathlib import Path

import pytest

from market.identity.module import identity
from market.identity.use_cases import IdentityService
from tests.cli.conftest import Ended, craton
from tests.market.shop import ADMIN_EMAIL, ADMIN_PASSWORD, PASSWORD, Shop


async def test_has_the_address_and_the_password_of_the_settings(tmp_path: Path) -> None:
    settings = {"CRATON_IDENTITY_ADMIN_EMAIL": "Root@example.com"}
    async with Shop("sqlite", tmp_path, settings=settings, modules=[identity]) as shop:
        root = await shop.login("root@example.com", ADMIN_PASSWORD)

        shown = (await root.get(f"/v1/users/{root.id}")).json

        assert (shown["name"], shown["email"], shown["roles"]) == ("Administrator", "Root@example.com", ["admin"])
        assert list(shop.said) == []


async def test_has_a_random_password_that_is_shown_once_if_the_settings_name_none(tmp_path: Path) -> None:
    settings = {"CRATON_IDENTITY_ADMIN_PASSWORD": ""}
    async with Shop("sqlite", tmp_path, settings=settings, modules=[identity]) as shop:
        (sentence,) = shop.said
        password = sentence.partition(" with the password ")[2].partition(" ")[0]

        assert sentence == f"The administrator is {ADMIN_EMAIL} with the password {password} (shown only this once)."
        assert len(password) >= 20
        admin = await shop.login(ADMIN_EMAIL, password)
        assert (await admin.get("/v1/users")).status == 200

        await shop.restart()
        assert list(shop.said) == []
        assert (await admin.get("/v1/users")).json["total"] == 1
        await shop.login(ADMIN_EMAIL, password)


async def test_keeps_the_password_when_the_settings_change(shop_sqlite: Shop) -> None:
    shop_sqlite.settings["CRATON_IDENTITY_ADMIN_PASSWORD"] = "a password that comes too late"  # noqa: S105
    await shop_sqlite.restart()

    assert list(shop_sqlite.said) == []
    await shop_sqlite.login(ADMIN_EMAIL, ADMIN_PASSWORD)


async def test_is_made_once_however_many_processes_start(shop: Shop) -> None:
    async with shop.run() as one, shop.run() as other:
        for app in (one, other):
            assert await app.begin(empty=True) == []

    assert (await (await shop.admin()).get("/v1/users")).json["total"] == 1


async def test_is_not_made_and_the_operator_is_told_if_a_user_has_the_address(shop_sqlite: Shop) -> None:
    ada = await shop_sqlite.register("Ada", email="ada@example.com")
    shop_sqlite.settings["CRATON_IDENTITY_ADMIN_EMAIL"] = "ADA@example.com"
    await shop_sqlite.restart()

    assert list(shop_sqlite.said) == ["ADA@example.com can't become the administrator: a user has this e-mail."]
    assert (await ada.get("/v1/users")).status == 403


async def test_does_not_come_back_after_being_deleted(shop_sqlite: Shop) -> None:
    admin, ada = await shop_sqlite.admin(), await shop_sqlite.register("Ada")
    await admin.put(f"/v1/users/{ada.id}/roles", {"roles": ["admin"]})
    assert (await admin.delete(f"/v1/users/{admin.id}")).status == 204
    await shop_sqlite.restart()

    gone = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
    assert (await shop_sqlite.nobody.post("/v1/login", gone)).status == 401


async def test_can_make_others_administrators(shop_sqlite: Shop) -> None:
    admin, ada = await shop_sqlite.admin(), await shop_sqlite.register("Ada", password=PASSWORD)

    await admin.put(f"/v1/users/{ada.id}/roles", {"roles": ["admin"]})

    assert (await ada.put(f"/v1/users/{admin.id}/roles", {"roles": []})).status == 204
    assert (await admin.get("/v1/users")).status == 403


class TestTheLastOne:
    async def test_can_neither_be_deleted_nor_lose_the_role(self, shop: Shop) -> None:
        admin = await shop.admin()
        path = f"/v1/users/{admin.id}"

        for refused in (
            await admin.delete(path),
            await admin.put(f"{path}/roles", {"roles": []}),
            await admin.put(f"{path}/roles", {"roles": ["service"]}),
        ):
            assert (refused.status, refused.code) == (409, "last-administrator")
        assert (await admin.put(f"{path}/roles", {"roles": ["admin", "service"]})).status == 204

    async def test_is_left_when_all_take_the_role_from_each_other_at_once(self, shop: Shop) -> None:
        admin = await shop.admin()
        others = [await shop.register(name) for name in ("Ada", "Bob", "Cy")]
        for other in others:
            assert (await admin.put(f"/v1/users/{other.id}/roles", {"roles": ["admin"]})).status == 204
        ring = [admin, *others]

        answers = await asyncio.gather(
            *(
                person.put(f"/v1/users/{victim.id}/roles", {"roles": []})
                for person, victim in zip(ring, [*others, admin], strict=True)
            )
        )

        assert {answer.status for answer in answers} <= {204, 403, 409, 503}
        assert [person for person in ring if (await person.get("/v1/users")).status == 200]


class TestNoneIsLeft:
    @pytest.fixture
    async def without(self, tmp_path: Path) -> Shop:
        """A market in which nobody is an administrator any more, as older versions have let it become."""
        async with Shop("sqlite", tmp_path) as shop:
            admin = await shop.admin()
            ada = await shop.register("Ada", email="ada@example.com")
            service = shop.app.running["identity"].use_cases._service
            assert isinstance(service, IdentityService)
            with pytest.MonkeyPatch.context() as patch:

                async def nothing(_: object) -> None:
                    """Any of them may go."""

                patch.setattr(service, "_require_another_administrator", nothing)
                assert (await admin.put(f"/v1/users/{admin.id}/roles", {"roles": []})).status == 204
            assert (await admin.get("/v1/users")).status == 403
            assert (await ada.get("/v1/users")).status == 403
        return shop

    def appoint(self, shop: Shop, email: str) -> Ended:
        environment = {"CRATON_APP": "market.app:app", "CRATON_DATA": str(shop.folder)}
        return craton("users", "appoint", email, env=environment)

    async def test_an_operator_makes_a_user_an_administrator(self, without: Shop) -> None:
        ended = await asyncio.to_thread(self.appoint, without, "ADA@example.com")

        assert (ended.code, ended.out) == (0, "ADA@example.com is an administrator.\n")
        async with without as shop:
            assert (await (await shop.login("ada@example.com")).get("/v1/users")).status == 200

    async def test_an_operator_makes_a_new_administrator_whose_password_is_shown(self, without: Shop) -> None:
        ended = await asyncio.to_thread(self.appoint, without, "root@example.com")

        password = ended.out.partition("with the password ")[2].partition(" ")[0]
        async with without as shop:
            assert (await (await shop.login("root@example.com", password)).get("/v1/users")).status == 200

    async def test_a_second_administrator_is_refused(self, without: Shop) -> None:
        await asyncio.to_thread(self.appoint, without, "ada@example.com")

        refused = await asyncio.to_thread(self.appoint, without, "eve@example.com")

        refused.require_one_sentence(1, "There is an administrator already")
        (await asyncio.to_thread(self.appoint, without, "eve")).require_one_sentence(2, "no e-mail address")
