"""Sessions: an access token for a quarter of an hour, a refresh token that is good once, and an end to both."""

import asyncio
import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from craton.application import WiringError
from craton.testing import TurnedClock
from market.identity.module import identity
from tests.http.client import Response
from tests.market.shop import PASSWORD, Person, Shop

KEY = "a key of forty characters, or even more."
NOBODYS = "01890a5d-ac96-774b-bcce-b302099a8057"
KEY_OF_48 = KEY + "_" * 8

MALFORMED = [
    "",
    " ",
    "Bearer",
    "Bearer ",
    "Bearer  {token}",
    "Bearer {token} {token}",
    "Bearer {token},Bearer {token}",
    "{token}",
    "Token {token}",
    "Basic {token}",
    "Bearer\t{token}",
    "Bearer:{token}",
    'Bearer "{token}"',
    "Bearer null",
    "Bearer undefined",
    "Bearer .",
    "Bearer ..",
    "Bearer ...",
    "Bearer a.b",
    "Bearer a.b.c",
    "Bearer {token}.",
    "Bearer .{token}",
    "Bearer {token}.x.y",
    "Bearer \xe4\xf6\xfc",
    "Bearer %00",
    "Bearer ====",
    "Bearer " + "x" * 5_000,
    "Bearer " + "." * 4_000,
    "Bearer [].[].[]",
    "Bearer W10.W10.W10",
    "Bearer e30.e30.",
    "Bearer bnVsbA.bnVsbA.bnVsbA",
    "Bearer _____.-----._____",
]
"""What may stand in `Authorization` and is no valid token, around one that is."""


async def refresh(shop: Shop, token: str) -> Response:
    return await shop.nobody.post("/v1/token/refresh", {"refresh_token": token})


async def works(person: Person, token: str | None = None) -> bool:
    """Whether an access token, the person's own unless another is given, is believed."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    answer = await person.get(f"/v1/users/{person.id}", headers)
    assert answer.status in (200, 401), answer
    return answer.status == 200


def refused(answer: Response) -> bool:
    return answer.status == 401 and answer.code == "invalid-refresh-token"


def pem(key: Any) -> str:
    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return text.decode()


class TestARefreshToken:
    async def test_is_good_for_one_new_pair(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")
        tokens = ada.tokens
        for _ in range(3):
            answer = await refresh(shop_sqlite, tokens["refresh_token"])
            assert answer.status == 200
            assert answer.json["refresh_token"] != tokens["refresh_token"]
            assert answer.json["user_id"] == ada.id
            tokens = answer.json
            assert await works(ada, tokens["access_token"])

    async def test_that_comes_again_at_once_gets_the_same_successor(self, shop: Shop) -> None:
        ada = await shop.register("Ada")

        answers = await asyncio.gather(*(refresh(shop, ada.tokens["refresh_token"]) for _ in range(10)))

        assert {answer.status for answer in answers} == {200}
        (successor,) = {answer.json["refresh_token"] for answer in answers}
        assert await works(ada, answers[0].json["access_token"])
        assert (await refresh(shop, successor)).status == 200

    async def test_that_is_used_again_later_ends_its_family_and_no_other(
        self, timed_shop: Shop, clock: TurnedClock
    ) -> None:
        shop = timed_shop
        ada = await shop.register("Ada")
        elsewhere = await shop.login(ada.email)
        fresh = (await refresh(shop, ada.tokens["refresh_token"])).json
        clock.turn(seconds=10)
        assert (await refresh(shop, ada.tokens["refresh_token"])).json["refresh_token"] == fresh["refresh_token"]
        clock.turn(milliseconds=1)

        assert refused(await refresh(shop, ada.tokens["refresh_token"]))

        assert refused(await refresh(shop, fresh["refresh_token"]))
        assert not await works(ada, fresh["access_token"])
        assert not await works(ada)
        assert await works(elsewhere)
        assert (await refresh(shop, elsewhere.tokens["refresh_token"])).status == 200

    async def test_that_is_guessed_ends_nothing(self, shop: Shop) -> None:
        ada = await shop.register("Ada")
        session = ada.tokens["refresh_token"].partition(".")[0]

        assert refused(await refresh(shop, f"{session}.a-good-guess"))

        assert await works(ada)
        assert (await refresh(shop, ada.tokens["refresh_token"])).status == 200

    async def test_that_is_older_than_the_last_ends_its_family_at_once(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")
        second = (await refresh(shop_sqlite, ada.tokens["refresh_token"])).json["refresh_token"]
        third = (await refresh(shop_sqlite, second)).json["refresh_token"]

        assert refused(await refresh(shop_sqlite, ada.tokens["refresh_token"]))
        assert refused(await refresh(shop_sqlite, third))

    async def test_is_no_access_token_and_an_access_token_is_no_refresh_token(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")

        assert not await works(ada, ada.tokens["refresh_token"])
        assert refused(await refresh(shop_sqlite, ada.tokens["access_token"]))
        assert await works(ada)

    async def test_that_is_malformed_is_refused(self, shop_sqlite: Shop) -> None:
        for token in ("", ".", "x", "01890a5d-ac96-774b-bcce-b302099a8057.x", "ä" * 100, "x" * 5_000, "a.b.c"):
            assert refused(await refresh(shop_sqlite, token)), token
        for body in ({}, {"refresh_token": None}, {"refresh_token": 5}, {"refresh_token": "x" * 5_001}):
            assert (await shop_sqlite.nobody.post("/v1/token/refresh", body)).status == 422

    async def test_is_used_once_under_an_idempotency_key_that_keeps_no_token(self, shop_sqlite: Shop) -> None:
        ada, key = await shop_sqlite.register("Ada"), {"Idempotency-Key": "once"}
        body = {"refresh_token": ada.tokens["refresh_token"]}

        first = await shop_sqlite.nobody.post("/v1/token/refresh", body, key)
        again = await shop_sqlite.nobody.post("/v1/token/refresh", body, key)

        assert (first.status, again.status, again.code) == (200, 409, "answer-not-kept")
        assert (await refresh(shop_sqlite, first.json["refresh_token"])).status == 200

    async def test_is_good_for_seven_days_from_the_login(self, timed_shop: Shop, clock: TurnedClock) -> None:
        ada = await timed_shop.register("Ada")
        clock.turn(days=7, seconds=-1)
        answer = await refresh(timed_shop, ada.tokens["refresh_token"])
        assert answer.status == 200

        clock.turn(seconds=1)

        assert refused(await refresh(timed_shop, answer.json["refresh_token"]))


class TestAnAccessToken:
    async def test_is_good_for_fifteen_minutes(self, timed_shop: Shop, clock: TurnedClock) -> None:
        ada = await timed_shop.register("Ada")

        clock.turn(minutes=15, seconds=-1)
        assert await works(ada)
        clock.turn(seconds=1)
        assert not await works(ada)

    async def test_is_valid_after_a_restart(self, shop: Shop) -> None:
        ada = await shop.register("Ada")

        await shop.restart()

        assert await works(ada)
        assert (await refresh(shop, ada.tokens["refresh_token"])).status == 200

    async def test_that_is_malformed_never_causes_a_server_error(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")
        wrong = [said.replace("{token}", ada.tokens["access_token"]) for said in MALFORMED]

        statuses = {
            said: (await shop_sqlite.nobody.get(f"/v1/users/{ada.id}", {"Authorization": said})).status
            for said in wrong
        }

        assert {said: status for said, status in statuses.items() if status != 401} == {}

    async def test_that_was_tampered_with_is_refused(self, shop_sqlite: Shop) -> None:
        admin, ada = await shop_sqlite.admin(), await shop_sqlite.register("Ada")
        head, claims, signature = ada.tokens["access_token"].split(".")
        said = json.loads(unpacked(claims))

        def signed(content: Any, key: str = KEY, algorithm: str = "HS256", **header: Any) -> str:
            return jwt.encode(content, key, algorithm, headers=header)

        forged = {
            "another user": f"{head}.{packed({**said, 'sub': admin.id})}.{signature}",
            "another session": f"{head}.{packed({**said, 'sid': admin.id})}.{signature}",
            "a longer life": f"{head}.{packed({**said, 'exp': said['exp'] + 1})}.{signature}",
            "no signature": f"{head}.{claims}.",
            "half a signature": f"{head}.{claims}.{signature[:20]}",
            "another signature": f"{head}.{claims}.{signature[::-1]}",
            "another key": signed(said),
            "an empty key": f"{packed({'alg': 'HS256', 'typ': 'JWT'})}.{claims}.{signature}",
            "alg none": f"{packed({'alg': 'none', 'typ': 'JWT'})}.{claims}.",
            "alg None": f"{packed({'alg': 'None', 'typ': 'JWT'})}.{claims}.{signature}",
            "no alg": f"{packed({'typ': 'JWT'})}.{claims}.{signature}",
            "alg that is a list": f"{packed({'alg': ['HS256']})}.{claims}.{signature}",
            "alg that is an object": f"{packed({'alg': {}})}.{claims}.{signature}",
            "alg that is a number": f"{packed({'alg': 5})}.{claims}.{signature}",
            "another algorithm": signed(said, KEY_OF_48, "HS384"),
            "a head that is a list": f"{packed(['HS256'])}.{claims}.{signature}",
            "critical extensions": f"{packed({'alg': 'HS256', 'crit': ['x']})}.{claims}.{signature}",
            "not encoded claims": f"{packed({'alg': 'HS256', 'b64': False, 'crit': ['b64']})}.{claims}.{signature}",
            "a key of its own": f"{packed({'alg': 'HS256', 'jwk': {'kty': 'oct', 'k': ''}})}.{claims}.{signature}",
            "a kid that is a list": f"{packed({'alg': 'HS256', 'kid': []})}.{claims}.{signature}",
        }

        assert [how for how, token in forged.items() if await works(ada, token)] == []

    async def test_that_is_nested_deeply_is_refused(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")

        for depth in (500, 1_000, 2_900):
            deep = base64.urlsafe_b64encode(b"[" * depth).decode().rstrip("=")
            for token in (f"{deep}.e30.e30", f"{packed({'alg': 'HS256'})}.{deep}.e30"):
                assert not await works(ada, token)

    async def test_that_is_signed_but_has_wrong_claims_is_refused(self, tmp_path: Path) -> None:
        settings = {"CRATON_IDENTITY_TOKEN_KEY": KEY}
        async with Shop("sqlite", tmp_path, settings=settings, modules=[identity]) as shop:
            ada = await shop.register("Ada")
            said = json.loads(unpacked(ada.tokens["access_token"].split(".")[1]))
            changes: list[dict[str, Any]] = [
                {"typ": "refresh"},
                {"typ": None},
                {"exp": 0},
                {"exp": "soon"},
                {"exp": None},
                {"exp": []},
                {"exp": True},
                {"sub": "ada"},
                {"sub": None},
                {"sub": 5},
                {"sub": NOBODYS},
                {"sid": 5},
                {"sid": NOBODYS},
                {"sid": ada.id},
                {"nbf": "soon"},
            ]
            said_otherwise = [said | change for change in changes]
            said_less = [
                {name: said[name] for name in said.keys() - {left_out}} for left_out in ("typ", "exp", "sub", "sid")
            ]

            assert await works(ada, jwt.encode(said, KEY, "HS256"))
            assert [
                claims for claims in said_otherwise + said_less if await works(ada, hs256(claims, KEY.encode()))
            ] == []


class TestTheEnd:
    async def test_of_one_session_comes_with_its_refresh_token(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")
        elsewhere = await shop_sqlite.login(ada.email)

        answer = await ada.post("/v1/logout", {"refresh_token": ada.tokens["refresh_token"]})

        assert (answer.status, answer.body) == (204, b"")
        assert not await works(ada)
        assert refused(await refresh(shop_sqlite, ada.tokens["refresh_token"]))
        assert await works(elsewhere)

    async def test_of_all_comes_without_one(self, shop_sqlite: Shop) -> None:
        ada, bob = await shop_sqlite.register("Ada"), await shop_sqlite.register("Bob")
        elsewhere = await shop_sqlite.login(ada.email)

        assert (await ada.post("/v1/logout")).status == 204

        assert [await works(ada), await works(elsewhere), await works(bob)] == [False, False, True]
        assert refused(await refresh(shop_sqlite, elsewhere.tokens["refresh_token"]))
        assert (await ada.post("/v1/logout")).status == 401

    async def test_of_all_includes_more_than_a_hundred_sessions(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")
        logins = []
        for _ in range(35):
            logins += await asyncio.gather(*(shop_sqlite.login(ada.email) for _ in range(3)))

        assert (await ada.post("/v1/logout")).status == 204

        assert not any([await works(login) for login in logins])

    async def test_of_a_session_cannot_be_caused_by_another_user(self, shop_sqlite: Shop) -> None:
        ada, bob = await shop_sqlite.register("Ada"), await shop_sqlite.register("Bob")

        assert (await bob.post("/v1/logout", {"refresh_token": ada.tokens["refresh_token"]})).status == 204
        assert (await bob.post("/v1/logout", {"user": ada.id})).status == 422
        assert (await shop_sqlite.nobody.post("/v1/logout")).status == 401

        assert await works(ada)

    @pytest.mark.parametrize("changed", [{"password": "quite another one"}, {"email": "countess@example.com"}])
    async def test_of_all_others_comes_with_a_new_password_or_address(
        self, shop: Shop, changed: dict[str, str]
    ) -> None:
        ada, bob = await shop.register("Ada"), await shop.register("Bob")
        elsewhere = await shop.login(ada.email)

        answer = await ada.put(f"/v1/users/{ada.id}", {**changed, "current_password": PASSWORD})

        assert answer.status == 204
        assert [await works(ada), await works(elsewhere), await works(bob)] == [True, False, True]
        assert refused(await refresh(shop, elsewhere.tokens["refresh_token"]))
        assert (await refresh(shop, ada.tokens["refresh_token"])).status == 200
        email, password = changed.get("email", ada.email), changed.get("password", PASSWORD)
        assert await works(await shop.login(email, password))

    async def test_of_all_comes_when_an_administrator_gives_a_new_password(self, shop_sqlite: Shop) -> None:
        ada, admin = await shop_sqlite.register("Ada"), await shop_sqlite.admin()

        assert (await admin.put(f"/v1/users/{ada.id}", {"password": "quite another one"})).status == 204

        assert [await works(ada), await works(admin)] == [False, True]
        elsewhere = ada
        assert refused(await refresh(shop_sqlite, elsewhere.tokens["refresh_token"]))
        assert (await shop_sqlite.nobody.post("/v1/login", {"email": ada.email, "password": PASSWORD})).status == 401
        assert await works(await shop_sqlite.login(ada.email, "quite another one"))

    async def test_comes_even_for_a_login_that_was_in_progress_when_the_password_changed(self, shop: Shop) -> None:
        ada = await shop.register("Ada")
        logins = [asyncio.create_task(shop.nobody.post("/v1/login", {"email": ada.email, "password": PASSWORD}))]
        for _ in range(2):
            logins.append(
                asyncio.create_task(shop.nobody.post("/v1/login", {"email": ada.email, "password": PASSWORD}))
            )
        changed = {"password": "quite another one", "current_password": PASSWORD}
        assert (await ada.put(f"/v1/users/{ada.id}", changed)).status == 204

        for answer in await asyncio.gather(*logins):
            if answer.status == 200:
                assert not await works(ada, answer.json["access_token"])

    async def test_does_not_come_with_a_new_name(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")

        assert (await ada.put(f"/v1/users/{ada.id}", {"name": "Countess"})).status == 204

        assert await works(ada)
        assert (await refresh(shop_sqlite, ada.tokens["refresh_token"])).status == 200


class TestTheKey:
    async def test_may_be_an_ed25519_key(self, tmp_path: Path) -> None:
        key = Ed25519PrivateKey.generate()
        settings = {"CRATON_IDENTITY_TOKEN_KEY": pem(key)}
        async with Shop("sqlite", tmp_path, settings=settings, modules=[identity]) as shop:
            ada = await shop.register("Ada")
            token = ada.tokens["access_token"]
            said = jwt.decode(token, key.public_key(), ["EdDSA"], options={"verify_exp": False})
            confused = jwt.api_jws.encode(json.dumps(said).encode(), KEY, "HS256")
            public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

            assert jwt.get_unverified_header(token)["alg"] == "EdDSA"
            assert await works(ada)
            assert not await works(ada, pem_signed(said, Ed25519PrivateKey.generate()))
            assert not await works(ada, confused)
            assert not await works(ada, hs256(said, public))
            await shop.restart()
            assert await works(ada)

    @pytest.mark.parametrize(
        ("key", "words"),
        [
            ("x" * 31, "fewer than 32 characters"),
            ("-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----", "no private key in PEM"),
            (pem(generate_private_key(SECP256R1())), "no Ed25519 key"),
        ],
    )
    async def test_that_is_wrong_is_refused_at_the_start(self, tmp_path: Path, key: str, words: str) -> None:
        shop = Shop("sqlite", tmp_path, settings={"CRATON_IDENTITY_TOKEN_KEY": key}, modules=[identity])

        with pytest.raises(WiringError, match=words) as refusal:
            async with shop:
                pass

        assert key not in str(refusal.value)

    async def test_that_replaces_another_ends_the_tokens_of_the_old_one(self, tmp_path: Path) -> None:
        async with Shop("sqlite", tmp_path, modules=[identity]) as shop:
            ada = await shop.register("Ada")
            shop.settings["CRATON_IDENTITY_TOKEN_KEY"] = KEY
            await shop.restart()

            assert not await works(ada)
            assert await works(await shop.login(ada.email))


def packed(part: Any) -> str:
    """A part of a token, as it stands in it."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def unpacked(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def pem_signed(content: Any, key: Ed25519PrivateKey) -> str:
    return jwt.encode(content, key, "EdDSA")


def hs256(content: Any, secret: bytes) -> str:
    """A token with any claims and any key, also those of which PyJWT itself would make none."""
    signed = f"{packed({'alg': 'HS256', 'typ': 'JWT'})}.{packed(content)}"
    digest = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
