"""Registration: what a user must give, and that no two of them have the same e-mail."""

import asyncio
from typing import Any

import pytest

from market.identity.events import EmailAddress
from tests.market.shop import PASSWORD, Shop

ADA = {"email": "Ada@Example.com", "name": "Ada", "password": PASSWORD}


def without(field: str) -> dict[str, str]:
    return {name: value for name, value in ADA.items() if name != field}


class TestAnEmailAddress:
    @pytest.mark.parametrize(
        "text",
        [
            "ada@example.com",
            "ADA@EXAMPLE.COM",
            "ada.lovelace+market@mail.example.co.uk",
            "o'hara_{1}@example.com",
            "x@y.zz",
            f"{'a' * 64}@example.com",
            "ada@1and1.com",
            "ada@xn--mnchen-3ya.de",
        ],
    )
    def test_has_one_of_many_forms(self, text: str) -> None:
        assert EmailAddress(text) == text

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@localhost",
            "ada@@example.com",
            "ada@example..com",
            "ada@.example.com",
            "ada@example.com.",
            "ada@-example.com",
            "ada@example-.com",
            ".ada@example.com",
            "ada.@example.com",
            "a..da@example.com",
            "ada lovelace@example.com",
            "ada@exam ple.com",
            "Ada <ada@example.com>",
            "ada@example.com,bob@example.com",
            "ada@example.com\nBcc: bob@example.com",
            "ada@127.0.0.1",
            "=?utf-8?q?victim?=@example.com",
            "=?utf-8?b?dmljdGlt?=@example.com",
            "a=?x@example.com",
            "ada@exämple.com",
            f"{'a' * 65}@example.com",
            f"ada@{'a' * 64}.com",
            f"ada@{'abcdefgh.' * 28}com",
        ],
    )
    def test_is_refused_in_any_other_form(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"e-mail address|characters"):
            EmailAddress(text)

    def test_is_kept_as_it_was_given_without_the_white_space_around_it(self) -> None:
        assert EmailAddress("  Ada@Example.COM ") == "Ada@Example.COM"


class TestRegistration:
    async def test_makes_a_user_without_roles_and_answers_its_location(self, shop: Shop) -> None:
        made = await shop.nobody.post("/v1/users", ADA)

        ada = await shop.login("ada@example.com")
        assert (made.status, made.json) == (201, {"id": ada.id})
        assert made.headers["location"] == f"/v1/users/{ada.id}"
        assert (await ada.get(made.headers["location"])).json == {
            "id": ada.id,
            "name": "Ada",
            "email": "Ada@Example.com",
            "active": True,
            "membership": False,
            "roles": [],
            "version": 1,
        }

    async def test_says_what_is_wrong_and_where(self, shop_sqlite: Shop) -> None:
        wrong: dict[str, tuple[Any, str]] = {
            "no e-mail": (without("email"), "$"),
            "no name": (without("name"), "$"),
            "no password": (without("password"), "$"),
            "no address": ({**ADA, "email": "ada"}, "$.email"),
            "blank e-mail": ({**ADA, "email": "  "}, "$.email"),
            "a number as e-mail": ({**ADA, "email": 5}, "$.email"),
            "null as e-mail": ({**ADA, "email": None}, "$.email"),
            "a list as e-mail": ({**ADA, "email": ["ada@example.com"]}, "$.email"),
            "a long e-mail": ({**ADA, "email": "a@" + "b." * 150 + "com"}, "$.email"),
            "null as name": ({**ADA, "name": None}, "$.name"),
            "a long name": ({**ADA, "name": "x" * 201}, "$.name"),
            "9 characters": ({**ADA, "password": "x" * 9}, "$.password"),
            "201 characters": ({**ADA, "password": "x" * 201}, "$.password"),
            "no characters": ({**ADA, "password": ""}, "$.password"),
            "a number as password": ({**ADA, "password": 1_234_567_890}, "$.password"),
            "null as password": ({**ADA, "password": None}, "$.password"),
            "a list": ([ADA], "$"),
            "an id of one's own": ({**ADA, "id": "01890a5d-ac96-774b-bcce-b302099a8057"}, "$"),
            "roles of one's own": ({**ADA, "roles": ["admin"]}, "$"),
            "a membership of one's own": ({**ADA, "membership": True}, "$"),
        }

        said = {what: await shop_sqlite.nobody.post("/v1/users", body) for what, (body, _) in wrong.items()}

        assert {what: (answer.status, answer.code, answer.json["path"]) for what, answer in said.items()} == {
            what: (422, "invalid-value", path) for what, (_, path) in wrong.items()
        }
        assert not any(b"xxxxxxxxx" in answer.body or b"1234567890" in answer.body for answer in said.values())
        admin = await shop_sqlite.admin()
        assert (await admin.get("/v1/users")).json["total"] == 1

    async def test_needs_a_name_that_is_not_blank(self, shop_sqlite: Shop) -> None:
        for name in ("", "   ", "\u00a0\u2003\t"):
            answer = await shop_sqlite.nobody.post("/v1/users", {**ADA, "name": name})
            assert (answer.status, answer.code) == (422, "blank-name")

    async def test_takes_passwords_of_10_to_200_characters_however_many_bytes(self, shop_sqlite: Shop) -> None:
        for number, password in enumerate(["abcde" * 2, "äßöüé" * 2, "🥄🔪🍴🥢🧂" * 40, "  leading and trailing  "]):
            email = f"ada{number}@example.com"
            await shop_sqlite.register(email=email, password=password)

            for other in (password + "x", password[:-1], password.strip()):
                if other != password:
                    wrong = {"email": email, "password": other}
                    assert (await shop_sqlite.nobody.post("/v1/login", wrong)).status == 401

    @pytest.mark.parametrize(
        ("password", "why"),
        [
            ("qwertyuiop", "others use it"),
            ("Password123", "others use it"),
            ("1234567890", "others use it"),
            ("aaaaaaaaaaaa", "others use it"),
            ("abababababab", "others use it"),
            ("lovelace-2026", "it holds the e-mail address"),
            ("i am LoveLace@Example.com", "it holds the e-mail address"),
            ("the countess of ockham", "it holds the name"),
        ],
    )
    async def test_refuses_passwords_that_are_easily_guessed(self, shop_sqlite: Shop, password: str, why: str) -> None:
        body = {"email": "Lovelace@example.com", "name": "Countess", "password": password}

        answer = await shop_sqlite.nobody.post("/v1/users", body)

        assert (answer.status, answer.code) == (422, "weak-password")
        assert why in answer.json["detail"]
        assert password not in answer.body.decode()

    async def test_treats_letters_alike_however_they_are_composed(self, shop_sqlite: Shop) -> None:
        composed, decomposed = "pl\u00e9in de m\u00fbres", "ple\u0301in de mu\u0302res"
        ada = await shop_sqlite.register("Ada", password=composed)

        assert (await shop_sqlite.login(ada.email, decomposed)).id == ada.id

    async def test_refuses_bodies_that_are_no_request(self, shop_sqlite: Shop) -> None:
        for body, kind, status, code in (
            (b"{", "application/json", 400, "malformed-json"),
            (b'{"email": "a@example.com", "email": "b@example.com"}', "application/json", 400, "malformed-json"),
            (b'{"password": "\\u0000\\u0000"}', "application/json", 400, "malformed-json"),
            (b'{"password": "\\ud800aaaaaaaaaa"}', "application/json", 400, "malformed-json"),
            (b"\xff\xfe", "application/json", 400, "malformed-json"),
            (b"", "application/json", 422, "invalid-value"),
            (b" " * (1024 * 1024 + 1), "application/json", 413, "body-too-large"),
            (b"email=a", "application/x-www-form-urlencoded", 415, "unsupported-media-type"),
        ):
            answer = await shop_sqlite.nobody.post("/v1/users", body, {"Content-Type": kind})
            assert (answer.status, answer.code) == (status, code), body[:80]

    async def test_that_is_repeated_with_its_key_makes_one_user(self, shop_sqlite: Shop) -> None:
        nobody, key = shop_sqlite.nobody, {"Idempotency-Key": "once"}

        first, again = [await nobody.post("/v1/users", ADA, key) for _ in range(2)]
        other = await nobody.post("/v1/users", {**ADA, "name": "Bob"}, key)

        assert (again.status, again.body) == (first.status, first.body) == (201, first.body)
        assert again.headers["idempotency-replayed"] == "true"
        assert (other.status, other.code) == (422, "idempotency-key-reused")


class TestAnEmail:
    async def test_belongs_to_one_living_user_whatever_its_case(self, shop: Shop) -> None:
        nobody, bob = shop.nobody, await shop.register("Bob", email="bob@example.com")
        await nobody.post("/v1/users", ADA)

        again = await nobody.post("/v1/users", {**ADA, "email": "aDA@eXAMPLE.COM"})
        proved = {"current_password": PASSWORD}
        changed = await bob.put(f"/v1/users/{bob.id}", {"email": " ADA@example.com ", **proved})

        assert (again.status, again.code) == (changed.status, changed.code) == (409, "value-taken")
        assert again.json["details"] == {"field": "email"}
        assert (await bob.get(f"/v1/users/{bob.id}")).json["email"] == "bob@example.com"

    async def test_may_be_written_in_another_way_by_its_owner(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada", email="ada@example.com")

        assert (await ada.put(f"/v1/users/{ada.id}", {"email": "ADA@example.com"})).status == 204

        assert (await ada.get(f"/v1/users/{ada.id}")).json["email"] == "ADA@example.com"

    async def test_is_free_when_its_owner_has_changed_to_another(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada", email="ada@example.com")
        proved = {"current_password": PASSWORD}
        await ada.put(f"/v1/users/{ada.id}", {"email": "lovelace@example.com", **proved})

        bob = await shop_sqlite.register("Bob", email="ada@example.com")

        assert bob.id != ada.id
        assert (await shop_sqlite.login("lovelace@example.com")).id == ada.id
        assert (await ada.put(f"/v1/users/{ada.id}", {"email": "Ada@example.com", **proved})).code == "value-taken"

    async def test_is_free_each_time_its_owner_is_deleted(self, shop: Shop) -> None:
        ids = set()
        for password in ("the first password", "the second password", "the third password"):
            ada = await shop.register("Ada", email="Ada@example.com", password=password)
            ids.add(ada.id)
            assert (await ada.delete(f"/v1/users/{ada.id}")).status == 204

        nobodys = await shop.nobody.post("/v1/login", {"email": "ada@example.com", "password": "the third password"})
        assert nobodys.status == 401
        assert len(ids) == 3

    async def test_goes_to_one_of_fifty_simultaneous_registrations(self, shop: Shop) -> None:
        spellings = ["ada@example.com", "Ada@Example.com", "ADA@EXAMPLE.COM"]

        answers = await asyncio.gather(
            *(shop.nobody.post("/v1/users", {**ADA, "email": spellings[n % 3], "name": f"Ada {n}"}) for n in range(50))
        )

        assert sorted(answer.status for answer in answers) == [201] + [409] * 49
        assert {answer.code for answer in answers if answer.status == 409} == {"value-taken"}
        (made,) = (answer.json["id"] for answer in answers if answer.status == 201)
        assert (await shop.login("ada@example.com")).id == made
        assert (await (await shop.admin()).get("/v1/users?q=ada")).json["total"] == 1

    async def test_goes_to_one_of_ten_simultaneous_changes(self, shop: Shop) -> None:
        people = await asyncio.gather(*(shop.register("Ada") for _ in range(10)))

        answers = await asyncio.gather(
            *(
                person.put(f"/v1/users/{person.id}", {"email": "wanted@example.com", "current_password": PASSWORD})
                for person in people
            )
        )

        assert sorted(answer.status for answer in answers) == [204] + [409] * 9
