"""A refusal is a type with a stable code, a sentence, and its details."""

import sys
import types
from typing import Any

import pytest

from craton.application.codec import decode, encode
from craton.domain import AggregateNotFound, Conflict, DomainError, InvalidValue, Money, NotFound


class OutOfStock(Conflict):
    """There isn't enough of it.

    More for the reader of the code.
    """

    product: str
    left: int


class OutOfStockForever(OutOfStock):
    """It is gone."""

    code = "sold-out"
    since: int


class RecipeNotFound(AggregateNotFound):
    """There is no such recipe."""


def test_the_code_is_the_name_in_kebab_case() -> None:
    assert OutOfStock.code == "out-of-stock"


def test_a_code_of_its_own_stays_when_the_class_is_renamed() -> None:
    assert OutOfStockForever.code == "sold-out"


def test_the_sentence_is_the_first_line_of_the_docstring() -> None:
    assert str(OutOfStock(product="cup", left=0)) == "There isn't enough of it."


def test_the_details_are_its_annotated_fields() -> None:
    assert encode(OutOfStock(product="cup", left=2).details) == b'{"product":"cup","left":2}'


def test_the_details_can_be_read_from_the_error() -> None:
    error = OutOfStock(product="cup", left=2)

    assert (error.product, error.left) == ("cup", 2)


def test_a_subclass_has_the_details_of_its_parent_too() -> None:
    assert encode(OutOfStockForever(product="cup", left=0, since=1).details) == b'{"product":"cup","left":0,"since":1}'


def test_a_detail_with_a_default_may_be_left_out() -> None:
    class Discounted(Conflict):
        percent: int = 10

    assert Discounted().percent == 10


@pytest.mark.parametrize("details", [{}, {"product": "cup"}, {"product": "cup", "left": 0, "colour": "red"}])
def test_a_missing_or_unknown_detail_is_a_mistake(details: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        OutOfStock(**details)


def test_errors_are_equal_when_type_and_details_are() -> None:
    assert OutOfStock(product="cup", left=0) == OutOfStock(product="cup", left=0)
    assert OutOfStock(product="cup", left=0) != OutOfStock(product="pan", left=0)
    assert OutOfStock(product="cup", left=0) != OutOfStockForever(product="cup", left=0, since=1)


def test_a_not_found_error_names_the_id() -> None:
    assert str(RecipeNotFound(id="42")) == "There is no recipe 42."


def test_each_kind_of_refusal_is_a_domain_error() -> None:
    assert all(issubclass(kind, DomainError) for kind in (Conflict, InvalidValue, NotFound, AggregateNotFound))


def test_money_may_be_a_detail() -> None:
    class TooDear(Conflict):
        price: Money

    error = TooDear(price=Money.of("1", "EUR"))

    assert encode(error.details) == b'{"price":{"amount":"1.00","currency":"EUR"}}'


def test_details_are_read_back_where_annotations_are_kept_as_text() -> None:
    module = types.ModuleType("later")
    sys.modules["later"] = module
    source = """from __future__ import annotations
from craton.domain import Money, NotFound
class TooDear(NotFound):
    price: Money
"""
    exec(compile(source, "later.py", "exec"), module.__dict__)  # noqa: S102 — the import must be the file's own
    refusal = module.TooDear(price=Money.of("1.00", "EUR"))

    read = decode(refusal.details_type(), encode(refusal.details))

    assert read == refusal.details
