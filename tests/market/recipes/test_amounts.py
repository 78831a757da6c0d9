"""Amounts: a quantity and a unit that can't be wrong."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis.strategies import decimals, sampled_from, text

from craton.application.codec import decode, encode_text
from craton.domain import Name
from market.recipes.events import SPELLINGS, Amount, IngredientId, NewIngredient, Unit


@given(decimals("0.000001", 1_000_000, places=6), sampled_from(Unit))
def test_an_amount_is_read_back_as_it_was_written(quantity: Decimal, unit: Unit) -> None:
    amount = Amount(quantity=quantity, unit=unit)

    assert decode(Amount, encode_text(amount)) == amount


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        ("gram", Unit.GRAM),
        ("Grams", Unit.GRAM),
        ("g", Unit.GRAM),
        ("GR.", Unit.GRAM),
        ("kg", Unit.KILOGRAM),
        ("Kilogramme", Unit.KILOGRAM),
        (" kilos ", Unit.KILOGRAM),
        ("l", Unit.LITER),
        ("Litres", Unit.LITER),
        ("ml", Unit.MILLILITER),
        ("millilitre", Unit.MILLILITER),
    ],
)
def test_common_spellings_of_units_are_understood(written: str, unit: Unit) -> None:
    assert Amount.of("1", written).unit is unit
    assert decode(Amount, f'{{"quantity": "1", "unit": "{written}"}}').unit is unit


@given(text())
def test_other_units_are_refused(written: str) -> None:
    if written.strip().rstrip(".").casefold() in SPELLINGS:
        return
    with pytest.raises(ValueError):
        Amount.of("1", written)


@pytest.mark.parametrize(
    "quantity",
    [
        *('"0"', '"-1"', '"NaN"', '"sNaN"', '"Infinity"', '"-Infinity"', '"1e3"', '"0.0000001"', '"1000000.1"'),
        *('"1e999999999"', '"many"', '""', "0", "-1", "1e400", "true", "null", "{}", '"1.0000000"'),
    ],
)
def test_a_quantity_is_finite_more_than_zero_and_bounded(quantity: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(Amount, f'{{"quantity": {quantity}, "unit": "gram"}}')


def test_a_json_number_is_taken_as_it_is_written() -> None:
    assert decode(Amount, '{"quantity": 0.1, "unit": "g"}') == Amount.of("0.1", "g")


@pytest.mark.parametrize("quantity", [float("nan"), float("inf"), 1.5, 1, True, "1", None])
def test_within_the_program_a_quantity_is_a_decimal(quantity: Any) -> None:
    with pytest.raises(TypeError):
        Amount(quantity=quantity, unit=Unit.GRAM)


def test_within_the_program_a_unit_is_a_unit() -> None:
    spelled: Any = "g"

    with pytest.raises(TypeError):
        Amount(quantity=Decimal(1), unit=spelled)


@pytest.mark.parametrize("calories", [-1, 1_000_001, 1.0, True, "1", None])
def test_calories_are_a_whole_number_from_zero(calories: Any) -> None:
    with pytest.raises(ValueError, match="calories"):
        NewIngredient(name=Name("Flour"), amount=Amount.of("1", "kg"), calories=calories)


def test_an_ingredient_has_a_name() -> None:
    with pytest.raises(ValueError, match="name"):
        NewIngredient(name=Name(" "), amount=Amount.of("1", "kg"), calories=0)


def test_an_amount_never_changes() -> None:
    amount: Any = Amount.of("1", "kg")

    with pytest.raises(AttributeError):
        amount.quantity = Decimal(2)


def test_ids_of_ingredients_are_their_own() -> None:
    assert IngredientId.new() != IngredientId.new()
