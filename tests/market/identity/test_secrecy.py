"""Passwords are nowhere but, hashed, in the one table that is for them; tokens are nowhere at all."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from market.identity.module import identity
from tests.market.shop import ADMIN_PASSWORD, MEMBERSHIP_SECRET, Shop

FIRST, SECOND, WRONG = "the first one that was hers", "the second one that was hers", "a wrong one that wasn't"
TOKEN_KEY = "the key that signs tokens, of 40 letters"  # noqa: S105
SECRETS = (FIRST, SECOND, WRONG, ADMIN_PASSWORD, MEMBERSHIP_SECRET, TOKEN_KEY)


def rows(file: Path) -> dict[str, list[str]]:
    """Every row of every table, as text."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: [str(row) for row in connection.execute(f'SELECT * FROM "{table}"')] for table in tables}


def everything_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


async def test_no_password_and_no_token_is_answered_logged_or_stored(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    settings = {"CRATON_IDENTITY_TOKEN_KEY": TOKEN_KEY}
    async with Shop("sqlite", tmp_path, settings=settings, modules=[identity]) as shop:
        nobody, key = shop.nobody, {"Idempotency-Key": "once"}
        body = {"email": "ada@example.com", "name": "Ada", "password": FIRST}
        answers = [await nobody.post("/v1/users", body, key) for _ in range(2)]
        answers.append(await nobody.post("/v1/users", body))  # the address is taken
        answers.append(await nobody.post("/v1/users", {**body, "password": WRONG, "nonsense": 1}))
        ada, admin = await shop.login("ada@example.com", FIRST), await shop.admin()
        path = f"/v1/users/{ada.id}"
        answers.append(await nobody.post("/v1/login", {"email": "ada@example.com", "password": WRONG}, key))
        answers.append(await nobody.post("/v1/login", {"email": WRONG, "password": [FIRST]}, key))
        answers.append(await ada.put(path, {"password": SECOND, "current_password": WRONG}))
        answers.append(await ada.put(path, {"password": SECOND, "current_password": FIRST}))
        answers.append(await ada.put(path, {"password": FIRST, "current_password": FIRST}))  # it isn't any more
        again = await shop.login("ada@example.com", SECOND)
        fresh = (await nobody.post("/v1/token/refresh", {"refresh_token": again.tokens["refresh_token"]}, key)).json
        answers += [await admin.get(path), await admin.get("/v1/users"), await again.get(path)]
        answers += [await nobody.get("/metrics"), await nobody.get("/openapi.json")]
        answers.append(await again.post("/v1/logout", {"refresh_token": fresh["refresh_token"]}, key))

    tokens = [
        pair[kind]
        for pair in (ada.tokens, admin.tokens, again.tokens, fresh)
        for kind in ("access_token", "refresh_token")
    ]
    told = capfd.readouterr()
    logged = told.out + told.err + caplog.text
    stored = rows(tmp_path / "identity.db")
    files = everything_in(tmp_path)
    for secret in (*SECRETS, *tokens, *(token.rpartition(".")[2] for token in tokens)):
        assert not any(secret.encode() in answer.body for answer in answers)
        assert secret not in logged
        assert secret.encode() not in files
    assert not any(b"argon2" in answer.body for answer in answers)
    assert "argon2" not in logged
    assert [table for table, lines in stored.items() if "argon2" in str(lines)] == ["credentials"]
    assert len(stored["credentials"]) == 2
    assert all("$argon2id$" in line for line in stored["credentials"])
    assert sum("PasswordChanged" in line for lines in stored.values() for line in lines) >= 1


async def test_the_hash_is_deleted_with_its_user(tmp_path: Path) -> None:
    async with Shop("sqlite", tmp_path, modules=[identity]) as shop:
        ada, bob = await shop.register("Ada"), await shop.register("Bob")
        await ada.delete(f"/v1/users/{ada.id}")

    kept = rows(tmp_path / "identity.db")["credentials"]

    assert not any(ada.id in line for line in kept)
    assert any(bob.id in line for line in kept)


async def test_the_same_password_is_hashed_with_another_salt(tmp_path: Path) -> None:
    async with Shop("sqlite", tmp_path, modules=[identity]) as shop:
        await shop.register("Ada", password=FIRST)
        await shop.register("Bob", password=FIRST)

    kept = rows(tmp_path / "identity.db")["credentials"]

    assert len({line.partition("$argon2id$")[2] for line in kept}) == 3


async def test_a_request_with_another_password_is_the_same_request_to_its_key(shop_sqlite: Shop) -> None:
    """The fingerprint of a request tells nothing of the passwords in it."""
    body, key = {"email": "ada@example.com", "name": "Ada", "password": FIRST}, {"Idempotency-Key": "once"}
    first = await shop_sqlite.nobody.post("/v1/users", body, key)

    again = await shop_sqlite.nobody.post("/v1/users", {**body, "password": SECOND}, key)

    assert (again.status, again.body, again.headers["idempotency-replayed"]) == (201, first.body, "true")
    assert (await shop_sqlite.nobody.post("/v1/login", {"email": "ada@example.com", "password": SECOND})).status == 401
