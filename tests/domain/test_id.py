"""Ids are UUIDv7 of the server's, and each kind of thing has a type of its own."""

import time
from uuid import UUID

import pytest

from craton.application.codec import decode, encode
from craton.domain import Id, uuid7
from craton.domain.world import World


class OrderId(Id):
    pass


class ProductId(Id):
    pattern = r"product_[0-9]+"


def test_an_id_has_the_version_and_the_variant_of_rfc_9562() -> None:
    for _ in range(10_000):
        made = UUID(uuid7())
        assert made.version == 7
        assert made.int >> 62 & 0b11 == 0b10


def test_an_id_begins_with_the_millisecond_in_which_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    made = UUID(uuid7())
    after = time.time_ns() // 1_000_000

    # Many ids of one millisecond may have borrowed from the next ones.
    assert before <= made.int >> 80 <= after + 1_000


def test_ids_sort_in_the_order_in_which_they_were_made() -> None:
    made = [uuid7() for _ in range(50_000)]

    assert made == sorted(made)


def test_no_id_is_made_twice() -> None:
    assert len({uuid7() for _ in range(50_000)}) == 50_000


def test_ids_stay_in_order_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = uuid7()
    past = World().milliseconds() - 10**6
    monkeypatch.setattr(World, "milliseconds", lambda _: past)

    assert uuid7() > first


def test_a_new_id_is_one_of_its_type() -> None:
    made = OrderId.new()

    assert type(made) is OrderId
    assert OrderId(str(made)) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "not-an-id",
        "0195f000-0000-7000-8000-00000000000",
        "0195f000-0000-7000-8000-0000000000000",
        "0195f000-0000-7000-8000-000000000000\n",
        "0195f000_0000_7000_8000_000000000000",
        "{0195f000-0000-7000-8000-000000000000}",
        "g195f000-0000-7000-8000-000000000000",
        "0195f000-0000-7000-8000-000000000000/../x",
        "x" * 10_000,
    ],
)
def test_a_text_that_is_not_a_uuid_is_refused_as_an_id(text: str) -> None:
    with pytest.raises(ValueError, match="not a valid OrderId") as refused:
        OrderId(text)
    assert len(str(refused.value)) < 200


def test_a_type_may_have_a_pattern_of_its_own() -> None:
    assert ProductId("product_1") == "product_1"
    with pytest.raises(ValueError, match="not a valid ProductId"):
        ProductId(str(OrderId.new()))


def test_an_id_travels_as_a_string() -> None:
    made = OrderId.new()

    assert encode(made) == f'"{made}"'.encode()
    assert type(decode(OrderId, encode(made))) is OrderId


@pytest.mark.parametrize("wire", [b"1", b"null", b"true", b'"x"', b"[]"])
def test_nothing_but_an_id_is_read_as_one(wire: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(OrderId, wire)
