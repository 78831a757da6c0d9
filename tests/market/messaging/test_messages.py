"""Messages: everybody reads them, their authors change them."""

from typing import Any

from tests.market.shop import Person, Shop


async def posted(author: Person, body: str) -> str:
    answer = await author.post("/v1/messages", {"body": body})
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


async def bodies(reader: Person, query: str = "") -> list[str]:
    return [item["body"] for item in (await reader.get(f"/v1/messages{query}")).json["items"]]


async def test_a_message_is_read_by_everybody_with_a_token(shop: Shop) -> None:
    ada, bob = await shop.register("Ada"), await shop.register("Bob")

    answer = await ada.post("/v1/messages", {"body": "  Who has a cast-iron pan?  "})

    assert answer.headers["location"] == f"/v1/messages/{answer.json['id']}"
    shown = await bob.get(answer.headers["location"])
    assert shown.status == 200
    assert shown.headers["etag"] == '"1"'
    message = shown.json
    assert message.pop("created_at")
    assert message == {
        "id": answer.json["id"],
        "author": ada.id,
        "body": "Who has a cast-iron pan?",
        "edited_at": None,
        "version": 1,
    }
    assert (await shop.nobody.get(answer.headers["location"])).status == 401
    assert (await shop.nobody.post("/v1/messages", {"body": "Hello"})).status == 401


async def test_its_author_edits_and_deletes_it(shop: Shop) -> None:
    ada = await shop.register("Ada")
    path = f"/v1/messages/{await posted(ada, 'Helo')}"

    edited = await ada.put(path, {"body": "Hello"})

    assert edited.status == 204
    shown = (await ada.get(path)).json
    assert (shown["body"], shown["version"]) == ("Hello", 2)
    assert shown["edited_at"] >= shown["created_at"]
    assert (await ada.delete(path)).status == 204
    for gone in (await ada.get(path), await ada.put(path, {"body": "Again"}), await ada.delete(path)):
        assert (gone.status, gone.code) == (404, "message-not-found")
    assert await bodies(ada) == []


async def test_nobody_else_changes_it(shop: Shop) -> None:
    ada, bob, admin = await shop.register("Ada"), await shop.register("Bob"), await shop.admin()
    path = f"/v1/messages/{await posted(ada, 'Hello')}"

    for other in (bob, admin):
        assert (await other.put(path, {"body": "Goodbye"})).status == 403
        assert (await other.delete(path)).status == 403
    assert (await shop.nobody.put(path, {"body": "Goodbye"})).status == 401
    assert (await shop.nobody.delete(path)).status == 401

    assert (await ada.get(path)).json["body"] == "Hello"


async def test_no_field_changes_the_author(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    ada, bob = await shop.register("Ada"), await shop.register("Bob")

    assert (await ada.post("/v1/messages", {"body": "Hello", "author": bob.id})).status == 422
    path = f"/v1/messages/{await posted(ada, 'Hello')}"
    for wrong in ({"body": "Hi", "author": bob.id}, {"body": "Hi", "id": "1"}, {"body": "Hi", "version": 9}):
        assert (await ada.put(path, wrong)).status == 422

    shown = (await ada.get(path)).json
    assert (shown["author"], shown["body"]) == (ada.id, "Hello")


async def test_a_message_has_a_text(shop_sqlite: Shop) -> None:
    ada = await shop_sqlite.register("Ada")
    path = f"/v1/messages/{await posted(ada, 'x' * 5_000)}"
    wrong: list[tuple[Any, str]] = [
        ({"body": " \n "}, "blank-message"),
        ({"body": "x" * 5_001}, "invalid-value"),
        ({"body": 7}, "invalid-value"),
        ({"body": None}, "invalid-value"),
        ({}, "invalid-value"),
    ]

    for body, code in wrong:
        for refused in (await ada.post("/v1/messages", body), await ada.put(path, body)):
            assert (refused.status, refused.code) == (422, code), body

    assert len(await bodies(ada)) == 1


async def test_the_same_text_again_is_no_edit(shop_sqlite: Shop) -> None:
    ada = await shop_sqlite.register("Ada")
    path = f"/v1/messages/{await posted(ada, 'Hello')}"

    assert (await ada.put(path, {"body": " Hello "})).status == 204

    assert (await ada.get(path)).json["edited_at"] is None


async def test_a_stale_edit_is_refused(shop_sqlite: Shop) -> None:
    ada = await shop_sqlite.register("Ada")
    path = f"/v1/messages/{await posted(ada, 'one')}"
    await ada.put(path, {"body": "two"})

    stale = await ada.put(path, {"body": "three"}, {"If-Match": '"1"'})

    assert stale.status == 412
    assert (await ada.get(path)).json["body"] == "two"


async def test_messages_are_found_by_author_and_by_a_part_of_their_text(shop: Shop) -> None:
    ada, bob = await shop.register("Ada"), await shop.register("Bob")
    for author, body in ((ada, "Grüße aus der Küche"), (bob, "Good morning"), (ada, "Good night, Bob")):
        await posted(author, body)

    assert await bodies(bob) == ["Good night, Bob", "Good morning", "Grüße aus der Küche"]
    assert await bodies(bob, f"?author={ada.id}") == ["Good night, Bob", "Grüße aus der Küche"]
    assert await bodies(bob, "?q=GR%C3%9CSSE") == ["Grüße aus der Küche"]
    assert await bodies(bob, f"?author={bob.id}&q=good") == ["Good morning"]
    assert await bodies(bob, "?q=%25") == []
    assert await bodies(bob, "?page=2&page_size=2") == ["Grüße aus der Küche"]
    assert (await bob.get("/v1/messages?author=%20")).status == 422
    assert (await bob.get("/v1/messages?body=x")).status == 422


async def test_the_same_request_again_writes_no_second_message(shop_sqlite: Shop) -> None:
    ada = await shop_sqlite.register("Ada")
    key = {"Idempotency-Key": "hello"}

    answers = [await ada.post("/v1/messages", {"body": "Hello"}, key) for _ in range(2)]

    assert answers[0].body == answers[1].body
    assert await bodies(ada) == ["Hello"]
