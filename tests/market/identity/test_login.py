"""Logging in: a failure tells the caller nothing, and too many failures close the account for a while."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from craton.application.api import operation_of
from craton.application.context import Context
from craton.domain import DomainError, Secret, TooManyAttempts
from craton.testing import TurnedClock
from market.identity.adapters.argon2 import Argon2
from market.identity.adapters.hashing_queue import HashingQueue
from market.identity.api import Identity, Tokens
from market.identity.events import EmailAddress, WrongCredentials
from market.identity.module import identity
from tests.http.client import Response
from tests.market.shop import PASSWORD, QuickArgon2, Shop

WRONG = "a password of another"


async def try_out(shop: Shop, email: str, password: str = WRONG) -> Response:
    return await shop.nobody.post("/v1/login", {"email": email, "password": password})


async def tried(shop: Shop, email: str, password: str = WRONG, *, times: int = 1) -> list[int]:
    """The statuses of so many attempts, one after the other."""
    return [(await try_out(shop, email, password)).status for _ in range(times)]


class TestASuccess:
    async def test_gives_an_access_token_for_fifteen_minutes_and_a_refresh_token(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada", email="Ada@example.com")

        answer = await try_out(shop_sqlite, " aDA@EXAMPLE.com ", PASSWORD)

        tokens = answer.json
        assert (answer.status, tokens["user_id"], tokens["token_type"], tokens["expires_in"]) == (
            200,
            ada.id,
            "Bearer",
            900,
        )
        assert tokens.keys() == {"access_token", "refresh_token", "user_id", "token_type", "expires_in"}
        used = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert (await shop_sqlite.nobody.get(f"/v1/users/{ada.id}", used)).status == 200

    async def test_takes_its_idempotency_key_and_leaves_no_token_under_it(self, shop_sqlite: Shop) -> None:
        ada, key = await shop_sqlite.register("Ada"), {"Idempotency-Key": "once"}
        body = {"email": ada.email, "password": PASSWORD}

        first, again = [await shop_sqlite.nobody.post("/v1/login", body, key) for _ in range(2)]

        assert (first.status, again.status, again.code) == (200, 409, "answer-not-kept")
        assert "refresh_token" not in again.json

    async def test_needs_an_address_and_a_password(self, shop_sqlite: Shop) -> None:
        for body, path in (
            ({"email": "ada", "password": PASSWORD}, "$.email"),
            ({"email": "ada@example.com"}, "$"),
            ({"password": PASSWORD}, "$"),
            ({"email": "ada@example.com", "password": None}, "$.password"),
            ({"email": "ada@example.com", "password": "x" * 5_001}, "$.password"),
            ({"email": "ada@example.com", "password": PASSWORD, "remember": True}, "$"),
        ):
            answer = await shop_sqlite.nobody.post("/v1/login", body)
            assert (answer.status, answer.code, answer.json["path"]) == (422, "invalid-value", path), body


class TestAFailure:
    async def test_looks_alike_whether_or_not_there_is_such_a_user(self, shop_sqlite: Shop) -> None:
        ada, bob = await shop_sqlite.register("Ada"), await shop_sqlite.register("Bob")
        await bob.delete(f"/v1/users/{bob.id}")

        known, unknown, deleted = [
            await try_out(shop_sqlite, email) for email in (ada.email, "nobody@example.com", bob.email)
        ]

        assert known.body == unknown.body == deleted.body
        assert (known.status, known.code) == (401, "wrong-credentials")
        assert known.headers.keys() == unknown.headers.keys() == deleted.headers.keys()
        assert "details" not in known.json

    async def test_takes_as_much_hashing_whether_or_not_there_is_such_a_user(self, tmp_path: Path) -> None:
        hashed: list[str] = []

        class Counting(Argon2):
            def _verify(self, password: str, hash_: str) -> bool:
                hashed.append(hash_)
                return super()._verify(password, hash_)

        async with Shop("sqlite", tmp_path, modules=[identity], hasher=Counting) as shop:
            ada = await shop.register("Ada")
            hashed.clear()

            await try_out(shop, ada.email)
            await try_out(shop, "nobody@example.com")

        known, unknown = hashed
        assert known != unknown
        assert known.split("$")[:4] == unknown.split("$")[:4]  # the same algorithm with the same parameters


class TestFiveFailures:
    @pytest.mark.parametrize("email", ["ada@example.com", "nobody@example.com"])
    async def test_in_a_row_close_the_account_for_a_while_even_to_the_right_password(
        self, shop: Shop, email: str
    ) -> None:
        await shop.register("Ada", email="ada@example.com")

        assert await tried(shop, email, times=5) == [401] * 5

        for address, password in ((email, WRONG), (email, PASSWORD), (email.upper(), PASSWORD)):
            answer = await try_out(shop, address, password)
            assert (answer.status, answer.code) == (429, "too-many-attempts")
            assert answer.json["details"] == {"retry_after": int(answer.headers["retry-after"])}
            assert 1 <= int(answer.headers["retry-after"]) <= 31

    async def test_count_before_the_next_attempt_is_checked(self, shop: Shop) -> None:
        ada = await shop.register("Ada")

        answers = await asyncio.gather(
            *(try_out(shop, ada.email) for _ in range(30)), try_out(shop, ada.email, PASSWORD)
        )

        assert sorted(answer.status for answer in answers[:-1]) == [401] * 5 + [429] * 25
        assert answers[-1].status == 429

    async def test_close_no_other_account_and_end_no_session(self, shop_sqlite: Shop) -> None:
        ada, bob = await shop_sqlite.register("Ada"), await shop_sqlite.register("Bob")

        assert await tried(shop_sqlite, ada.email, times=6) == [401] * 5 + [429]

        assert (await shop_sqlite.login(bob.email)).id == bob.id
        assert (await ada.get(f"/v1/users/{ada.id}")).status == 200

    async def test_are_counted_anew_after_a_success(self, shop_sqlite: Shop) -> None:
        ada = await shop_sqlite.register("Ada")

        for _ in range(3):
            assert await tried(shop_sqlite, ada.email, times=4) == [401] * 4
            assert await tried(shop_sqlite, ada.email, PASSWORD) == [200]

    async def test_make_one_wait_longer_with_each_failure_after_them(
        self, timed_shop: Shop, clock: TurnedClock
    ) -> None:
        ada = await timed_shop.register("Ada")
        await tried(timed_shop, ada.email, times=5)

        for wait in (30, 60, 120, 240, 480, 900, 900):
            clock.turn(seconds=wait - 1)
            assert await tried(timed_shop, ada.email, PASSWORD) == [429]
            clock.turn(seconds=1)
            assert await tried(timed_shop, ada.email) == [401]

        clock.turn(minutes=15)
        assert await tried(timed_shop, ada.email, PASSWORD) == [200]
        assert await tried(timed_shop, ada.email, times=5) == [401] * 5

    async def test_are_remembered_after_a_restart(self, shop: Shop) -> None:
        ada = await shop.register("Ada")
        await tried(shop, ada.email, times=5)

        await shop.restart()

        assert await tried(shop, ada.email, PASSWORD) == [429]

    @pytest.mark.parametrize("email", ["ada@example.com", "nobody@example.com"])
    async def test_are_all_that_fifty_simultaneous_attempts_get(self, shop: Shop, email: str) -> None:
        await shop.register("Ada", email="ada@example.com")

        answers = await asyncio.gather(*(try_out(shop, email) for _ in range(50)))

        assert sorted(answer.status for answer in answers) == [401] * 5 + [429] * 45
        assert await tried(shop, email, PASSWORD) == [429]

    async def test_close_the_account_for_the_address_that_they_came_from_only(self, shop: Shop) -> None:
        ada = await shop.register("Ada")
        login = operation_of(Identity.login)

        async def try_from(address: str, password: str) -> object:
            arguments = {"email": EmailAddress(ada.email), "password": Secret(password)}
            try:
                return (await shop.app.call(login, arguments, Context(address=address))).result
            except DomainError as refusal:
                return type(refusal)

        failures = [await try_from("192.0.2.1", WRONG) for _ in range(6)]

        assert failures == [WrongCredentials] * 5 + [TooManyAttempts]
        assert isinstance(await try_from("192.0.2.2", PASSWORD), Tokens)
        assert await try_from("192.0.2.1", PASSWORD) is TooManyAttempts


class TestHashing:
    async def test_is_shared_between_addresses_even_if_one_floods_it(self) -> None:
        queue = HashingQueue(2, max_waiting_per_address=64)
        done: list[str] = []
        gate = asyncio.Event()

        async def want(address: str) -> None:
            async with queue.place_for(address):
                await gate.wait()
                done.append(address)

        flood = [asyncio.create_task(want("flood")) for _ in range(60)]
        await asyncio.sleep(0)
        others = [asyncio.create_task(want(f"other {n}")) for n in range(3)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*flood, *others)

        assert max(done.index(f"other {n}") for n in range(3)) < 10

    async def test_is_refused_at_once_if_too_many_wait_already(self) -> None:
        queue = HashingQueue(1, max_waiting_per_address=2)
        async with queue.place_for("here"):
            waiting = [asyncio.create_task(self._hold(queue, "here")) for _ in range(2)]
            await asyncio.sleep(0)

            with pytest.raises(TooManyAttempts):
                await self._hold(queue, "here")
            elsewhere = asyncio.create_task(self._hold(queue, "elsewhere"))
            await asyncio.sleep(0)

        await asyncio.gather(*waiting, elsewhere)

    async def test_is_not_done_for_a_caller_that_was_cancelled(self) -> None:
        queue = HashingQueue(1, max_waiting_per_address=2)
        async with queue.place_for("here"):
            for _ in range(5):
                waiting = asyncio.create_task(self._hold(queue, "here"))
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])

        await asyncio.wait_for(self._hold(queue, "elsewhere"), 60)

    @staticmethod
    async def _hold(queue: HashingQueue, address: str) -> None:
        async with queue.place_for(address):
            await asyncio.sleep(0)


async def test_a_hash_with_other_parameters_is_renewed_at_the_next_login(tmp_path: Path) -> None:
    class Stronger(QuickArgon2):
        def __init__(self) -> None:
            super().__init__()
            self._hasher = PasswordHasher(time_cost=3, memory_cost=16, parallelism=1)

    def costs() -> list[str]:
        with contextlib.closing(sqlite3.connect(tmp_path / "identity.db")) as connection:
            hashes = [str(line) for (line,) in connection.execute("SELECT hash FROM credentials")]
        return sorted(line.split("$")[3] for line in hashes)

    async with Shop("sqlite", tmp_path, modules=[identity]) as shop:
        ada = await shop.register("Ada")
        before = costs()
        shop.hasher = Stronger
        await shop.restart()

        assert (await shop.login(ada.email)).id == ada.id

    assert len(set(before)) == 1
    assert [cost for cost in costs() if cost not in before] == ["m=16,t=3,p=1"]
