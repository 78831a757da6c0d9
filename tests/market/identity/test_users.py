"""Users: what users see of each other, and what they may change."""

import asyncio
from typing import Any

import pytest

from craton.application import Context
from craton.application.context import entered
from craton.testing import until
from market.identity.api import Identity
from market.identity.events import UserId
from tests.http.client import Response
from tests.market.refusals import code_of
from tests.market.shop import PASSWORD, Person, Shop

NOBODYS = "01890a5d-ac96-774b-bcce-b302099a8057"


async def of_role(shop: Shop, role: str) -> Person:
    """A new user with a role."""
    somebody = await shop.register(role.capitalize())
    answer = await (await shop.admin()).put(f"/v1/users/{somebody.id}/roles", {"roles": [role]})
    assert answer.status == 204, answer.body
    return somebody


def positions(answer: Response) -> dict[str, int]:
    """How far views must have got to show what an answer says was changed."""
    module, _, position = answer.headers["craton-position"].partition("=")
    return {module: int(position)}


class TestLooking:
    async def test_users_see_all_of_themselves_and_id_and_name_of_others(self, shop_sqlite: Shop) -> None:
        ada, bob = await shop_sqlite.register("Ada"), await shop_sqlite.register("Bob")

        assert (await ada.get(f"/v1/users/{bob.id}")).json == {"id": bob.id, "name": "Bob"}
        own = await ada.get(f"/v1/users/{ada.id}")
        assert (own.json["email"], own.json["membership"], own.headers["etag"]) == (ada.email, False, '"1"')

    async def test_an_administrator_sees_everything(self, shop_sqlite: Shop) -> None:
        admin, ada = await shop_sqlite.admin(), await shop_sqlite.register("Ada")

        assert (await admin.get(f"/v1/users/{ada.id}")).json == (await ada.get(f"/v1/users/{ada.id}")).json

    async def test_nobody_else_sees_anything(self, shop_sqlite: Shop) -> None:
        nobody, ada = shop_sqlite.nobody, await shop_sqlite.register("Ada")

        for path in ("/v1/users", f"/v1/users/{ada.id}", f"/v1/users/{NOBODYS}", f"/v1/users/{ada.id}/validate"):
            answer = await nobody.get(path)
            assert (answer.status, answer.code) == (401, "unauthenticated")
            assert answer.headers["www-authenticate"] == "Bearer"

    async def test_an_unknown_user_is_not_found_and_an_invalid_id_is_refused(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")

        unknown, wrong = await ada.get(f"/v1/users/{NOBODYS}"), await ada.get("/v1/users/ada")

        assert (unknown.status, unknown.code) == (404, "user-not-found")
        assert (wrong.status, wrong.code, wrong.json["path"]) == (422, "invalid-value", "$.user")


class TestTheList:
    async def test_is_for_administrators(self, shop_sqlite: Shop) -> None:
        ada, service = await shop_sqlite.register("Ada"), await of_role(shop_sqlite, "service")

        assert [(await person.get("/v1/users")).status for person in (ada, service)] == [403, 403]
        assert (await (await shop_sqlite.admin()).get("/v1/users")).status == 200

    async def test_finds_parts_of_names_and_emails_newest_first(self, shop: Shop) -> None:
        admin = await shop.admin()
        for name, email in (
            ("Ada Lovelace", "countess@example.com"),
            ("Grace Ärmel", "grace.ada@example.com"),
            ("Under_score 100%", "x@example.com"),
        ):
            answer = await shop.nobody.post("/v1/users", {"name": name, "email": email, "password": PASSWORD})
            assert answer.status == 201

        async def found(q: str) -> list[str]:
            return [user["name"] for user in (await admin.get(f"/v1/users?q={q}")).json["items"]]

        assert await found("ADA") == ["Grace Ärmel", "Ada Lovelace"]
        assert await found("%C3%A4rMEL") == ["Grace Ärmel"]
        assert await found("COUNTESS@") == ["Ada Lovelace"]
        assert await found("r_s") == await found("0%25") == ["Under_score 100%"]
        assert await found("nobody") == []
        for everybody in ("", "+"):
            names = await found(everybody)
            names.remove("Administrator")
            assert names == ["Under_score 100%", "Grace Ärmel", "Ada Lovelace"]

    async def test_has_the_administrator_in_the_order_of_creation(self, shop_sqlite: Shop) -> None:
        await shop_sqlite.register("Ada")

        users = (await (await shop_sqlite.admin()).get("/v1/users")).json["items"]

        assert [user["name"] for user in users] == ["Ada", "Administrator"]

    async def test_comes_in_pages_and_without_deleted_users(self, shop_sqlite: Shop) -> None:
        admin = await shop_sqlite.admin()
        people = await asyncio.gather(*(shop_sqlite.register(f"Ada{n}") for n in range(3)))
        await people[0].delete(f"/v1/users/{people[0].id}")

        pages = [(await admin.get(f"/v1/users?page={page}&page_size=2")).json for page in (1, 2, 3)]

        names = [user["name"] for page in pages for user in page["items"]]
        assert sorted(names) == ["Ada1", "Ada2", "Administrator"]
        assert [(page["total"], page["page"], page["page_size"], page["total_pages"]) for page in pages] == [
            (3, 1, 2, 2),
            (3, 2, 2, 2),
            (3, 3, 2, 2),
        ]
        assert "password" not in str((await admin.get("/v1/users")).json)


class TestChanging:
    async def test_a_user_changes_what_is_given_and_nothing_else(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada", email="ada@example.com")
        path = f"/v1/users/{ada.id}"

        assert (await ada.put(path, {"name": " Ada Lovelace "})).status == 204
        changed = {"email": "lovelace@example.com", "current_password": PASSWORD}
        assert (await ada.put(path, changed)).status == 204
        assert (await ada.put(path, {})).status == 204

        shown = (await ada.get(path)).json
        assert (shown["name"], shown["email"], shown["version"]) == ("Ada Lovelace", "lovelace@example.com", 3)

    @pytest.mark.parametrize("changed", [{"password": "quite another one"}, {"email": "countess@example.com"}])
    @pytest.mark.parametrize("proved", [{}, {"current_password": None}, {"current_password": "a wrong one"}])
    async def test_ones_own_password_or_address_needs_the_present_password(
        self, shop_sqlite: Shop, changed: dict[str, str], proved: dict[str, Any]
    ) -> None:
        ada = await shop_sqlite.register("Ada")

        refused = await ada.put(f"/v1/users/{ada.id}", {**changed, **proved})

        assert (refused.status, refused.code) == (422, "wrong-password")
        assert (await shop_sqlite.login(ada.email)).id == ada.id

    async def test_an_administrators_own_password_needs_the_present_password_too(self, shop_sqlite: Shop) -> None:
        admin = await shop_sqlite.admin()

        refused = await admin.put(f"/v1/users/{admin.id}", {"password": "quite another one"})

        assert refused.code == "wrong-password"

    async def test_is_refused_for_a_while_after_five_wrong_passwords(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")
        body = {"password": "quite another one", "current_password": "a wrong one"}

        answers = [await ada.put(f"/v1/users/{ada.id}", body) for _ in range(6)]

        assert [answer.status for answer in answers] == [422] * 5 + [429]

    async def test_another_user_is_refused_except_for_administrators(self, shop_sqlite: Shop) -> None:
        shop = shop_sqlite
        admin, ada, bob = await shop.admin(), await shop.register("Ada"), await shop.register("Bob")
        service = await of_role(shop, "service")
        path = f"/v1/users/{ada.id}"

        for stranger in (bob, service):
            assert (await stranger.put(path, {"name": "Eve"})).code == "access-denied"
            assert (await stranger.delete(path)).code == "access-denied"
            assert (await stranger.put(f"{path}/roles", {"roles": ["admin"]})).code == "access-denied"
        assert (await shop.nobody.put(path, {"name": "Eve"})).status == 401
        assert (await ada.put(f"{path}/roles", {"roles": ["admin"]})).status == 403
        assert (await ada.get(path)).json["name"] == "Ada"

        assert (await admin.put(path, {"name": "Countess"})).status == 204
        assert (await ada.get(path)).json["name"] == "Countess"
        assert (await admin.delete(path)).status == 204

    async def test_to_wrong_values_is_refused_with_their_path(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")
        path = f"/v1/users/{ada.id}"

        blank = await ada.put(path, {"name": " ", "email": "other@example.com", "current_password": PASSWORD})
        assert (blank.status, blank.code) == (422, "blank-name")
        for body, where in (
            ({"email": "ada"}, "$.email"),
            ({"email": ""}, "$.email"),
            ({"name": 5}, "$.name"),
            ({"name": "x" * 201}, "$.name"),
            ({"password": "short"}, "$.password"),
            ({"password": "x" * 201}, "$.password"),
            ({"roles": ["admin"]}, "$"),
            ({"membership": True}, "$"),
            ({"user": NOBODYS}, "$"),
        ):
            answer = await ada.put(path, body)
            assert (answer.status, answer.code, answer.json["path"]) == (422, "invalid-value", where), body
        assert (await ada.get(path)).json["version"] == 1

    async def test_an_unknown_user_is_refused(self, shop_sqlite: Shop) -> None:
        admin = await shop_sqlite.admin()

        for answer in (
            await admin.put(f"/v1/users/{NOBODYS}", {"name": "Ada"}),
            await admin.delete(f"/v1/users/{NOBODYS}"),
            await admin.put(f"/v1/users/{NOBODYS}/roles", {"roles": []}),
        ):
            assert (answer.status, answer.code) == (404, "user-not-found")

    async def test_a_stale_version_is_refused(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")
        path = f"/v1/users/{ada.id}"
        seen = {"If-Match": (await ada.get(path)).headers["etag"]}

        assert (await ada.put(path, {"name": "Countess"}, seen)).status == 204
        late = await ada.put(path, {"name": "Augusta"}, seen)

        assert late.status == 412
        assert (await ada.get(path)).json["name"] == "Countess"


class TestADeletedUser:
    async def test_is_gone_for_everybody(self, shop_sqlite: Shop) -> None:
        ada, admin = await shop_sqlite.register("Ada"), await shop_sqlite.admin()
        path = f"/v1/users/{ada.id}"
        deleted = await ada.delete(path)

        assert (deleted.status, deleted.body) == (204, b"")
        assert (await admin.get(path)).status == 404
        assert (await admin.put(path, {"name": "Ada"})).status == 404
        assert (await admin.put(f"{path}/roles", {"roles": ["admin"]})).status == 404
        assert (await admin.get(f"{path}/validate")).json == {"valid": False}

    async def test_can_neither_log_in_nor_use_or_refresh_tokens(self, shop: Shop) -> None:
        ada, admin = await shop.register("Ada"), await shop.admin()
        assert (await ada.get(f"/v1/users/{admin.id}")).status == 200
        await admin.delete(f"/v1/users/{ada.id}")

        assert (await ada.get(f"/v1/users/{admin.id}")).status == 401
        token = {"refresh_token": ada.tokens["refresh_token"]}
        assert (await shop.nobody.post("/v1/token/refresh", token)).status == 401
        login = await shop.nobody.post("/v1/login", {"email": ada.email, "password": PASSWORD})
        assert (login.status, login.code) == (401, "wrong-credentials")

    async def test_is_deleted_again_without_effect(self, shop_sqlite: Shop) -> None:
        ada, admin = await shop_sqlite.register("Ada"), await shop_sqlite.admin()

        assert [(await admin.delete(f"/v1/users/{ada.id}")).status for _ in range(2)] == [204, 204]


class TestRoles:
    async def test_count_from_the_next_request_on(self, shop_sqlite: Shop) -> None:
        admin, ada = await shop_sqlite.admin(), await shop_sqlite.register("Ada")
        path = f"/v1/users/{ada.id}/roles"
        assert (await ada.get("/v1/users")).status == 403

        assert (await admin.put(path, {"roles": ["admin", "service"]})).status == 204
        assert (await ada.get("/v1/users")).status == 200
        assert sorted((await ada.get(f"/v1/users/{ada.id}")).json["roles"]) == ["admin", "service"]

        assert (await admin.put(path, {"roles": []})).status == 204
        assert (await ada.get("/v1/users")).status == 403

    async def test_are_admin_and_service_and_nothing_else(self, shop_sqlite: Shop) -> None:
        admin, ada = await shop_sqlite.admin(), await shop_sqlite.register("Ada")

        for role in ("member", "root", "", "Admin"):
            answer = await admin.put(f"/v1/users/{ada.id}/roles", {"roles": ["service", role]})
            assert (answer.status, answer.code) == (422, "unknown-role")
        for body in ({}, {"roles": "admin"}, {"roles": [5]}, {"roles": None}, {"roles": [], "name": "Eve"}):
            assert (await admin.put(f"/v1/users/{ada.id}/roles", body)).status == 422
        assert (await ada.get(f"/v1/users/{ada.id}")).json["roles"] == []

    async def test_only_services_and_administrators_validate_users(self, shop_sqlite: Shop) -> None:
        ada, service = await shop_sqlite.register("Ada"), await of_role(shop_sqlite, "service")
        admin = await shop_sqlite.admin()

        assert (await ada.get(f"/v1/users/{ada.id}/validate")).status == 403
        for entitled in (service, admin):
            assert (await entitled.get(f"/v1/users/{ada.id}/validate")).json == {"valid": True}
            assert (await entitled.get(f"/v1/users/{NOBODYS}/validate")).json == {"valid": False}
        assert (await service.get("/v1/users/ada/validate")).status == 422


class TestTheCache:
    async def test_of_another_process_forgets_users_that_have_changed(self, shop: Shop) -> None:
        ada, path = await shop.register("Ada"), "/v1/users/"
        async with shop.run() as other:
            for number in range(10):
                assert (await other.api(Identity).user(UserId(ada.id))).id == ada.id
                changed = await ada.put(f"{path}{ada.id}", {"name": f"Ada {number}"})

                with entered(Context(positions=positions(changed))):
                    elsewhere = await other.api(Identity).user(UserId(ada.id))

                assert elsewhere.name == f"Ada {number}"
                assert (await ada.get(f"{path}{ada.id}")).json["name"] == f"Ada {number}"

    async def test_of_another_process_forgets_tokens_after_a_logout(self, shop: Shop) -> None:
        ada = await shop.register("Ada")
        async with shop.run() as other:
            token = ada.tokens["access_token"]
            assert (await other.api(Identity).authenticate(token)).id == ada.id

            assert (await ada.post("/v1/logout")).status == 204

            async def is_forgotten() -> bool:
                return await code_of(other.api(Identity).authenticate(token)) == "unauthenticated"

            await until(is_forgotten)

    async def test_never_keeps_a_value_that_was_read_while_it_changed(self, shop: Shop) -> None:
        ada, admin = await shop.register("Ada"), await shop.admin()
        path = f"/v1/users/{ada.id}"

        for number in range(20):
            readers = [asyncio.create_task(admin.get(path)) for _ in range(5)]
            await ada.put(path, {"name": f"Ada {number}"})
            await asyncio.gather(*readers)
            assert (await admin.get(path)).json["name"] == f"Ada {number}"
