"""What recipes tell: ids, values, events and refusals. Others may import it."""

from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final, Self

from craton.domain import AggregateNotFound, Conflict, Event, Id, InvalidValue, Name, NotFound, Text, Value


class RecipeId(Id):
    pass


class IngredientId(Id):
    pass


class Unit(StrEnum):
    """A unit of amounts. Common spellings and abbreviations of it are understood."""

    GRAM = "gram"
    KILOGRAM = "kilogram"
    LITER = "liter"
    MILLILITER = "milliliter"

    @classmethod
    def _missing_(cls, value: object) -> "Unit | None":
        return SPELLINGS.get(value.strip().rstrip(".").casefold()) if isinstance(value, str) else None


SPELLINGS: Final = {
    spelling: unit
    for unit, spellings in {
        Unit.GRAM: "gram grams gramme grammes g gr gm gms",
        Unit.KILOGRAM: "kilogram kilograms kilogramme kilogrammes kilo kilos kg kgs",
        Unit.LITER: "liter liters litre litres l ltr ltrs",
        Unit.MILLILITER: "milliliter milliliters millilitre millilitres ml mls",
    }.items()
    for spelling in spellings.split()
}


MAX_QUANTITY: Final = Decimal(1_000_000)
MAX_DECIMALS: Final = 6
MAX_CALORIES: Final = 1_000_000


class Amount(Value):
    """So many units of something. Raises `ValueError` for a quantity that isn't more than 0 and at most 1,000,000, or
    that has more than 6 decimals."""

    quantity: Decimal
    """In JSON a string such as `"2.5"`, or a number. It is never rounded."""
    unit: Unit

    def __post_init__(self) -> None:
        if type(self.quantity) is not Decimal or type(self.unit) is not Unit:
            raise TypeError("an amount is a Decimal and a Unit")
        if not self.quantity.is_finite() or not 0 < self.quantity <= MAX_QUANTITY:
            raise ValueError(f"a quantity is more than 0 and at most {MAX_QUANTITY:,}")
        exponent = self.quantity.as_tuple().exponent
        if not isinstance(exponent, int) or not -MAX_DECIMALS <= exponent <= 0:
            raise ValueError(f"a quantity has at most {MAX_DECIMALS} decimals, and is written without an exponent")

    @classmethod
    def of(cls, quantity: str, unit: str) -> Self:
        """Read a quantity and a unit that a person has written: `Amount.of("2.5", "kg")`. Raises `ValueError`."""
        try:
            return cls(quantity=Decimal(quantity), unit=Unit(unit))
        except InvalidOperation:
            raise ValueError(f"{quantity[:40]!r} is no number") from None

    def __str__(self) -> str:
        return f"{self.quantity:f} {self.unit}"


class NewIngredient(Value):
    """Something that goes into a dish, and how many calories it brings. Raises `ValueError` if it has no name, or for
    calories that aren't a whole number from 0 to 1,000,000."""

    name: Name
    amount: Amount
    calories: int

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("an ingredient needs a name")
        if type(self.calories) is not int or not 0 <= self.calories <= MAX_CALORIES:
            raise ValueError(f"calories are a whole number from 0 to {MAX_CALORIES:,}")


class Ingredient(NewIngredient):
    """An ingredient of a recipe."""

    id: IngredientId

    @classmethod
    def new(cls, given: NewIngredient) -> Self:
        return cls(id=IngredientId.new(), name=given.name, amount=given.amount, calories=given.calories)


# --- facts ---------------------------------------------------------------------------------------------------


class RecipeBegun(Event):
    owner: Id
    name: Name
    description: Text


class IngredientsAdded(Event):
    ingredients: tuple[Ingredient, ...]


class IngredientRemoved(Event):
    ingredient: IngredientId


# --- refusals ------------------------------------------------------------------------------------------------


class BlankName(InvalidValue):
    """A recipe needs a name."""


class DescriptionTooShort(InvalidValue):
    """The description of a recipe has at least 10 characters."""


class NothingToAdd(InvalidValue):
    """Name at least one ingredient."""


class TooManyIngredients(Conflict):
    """A recipe has at most 200 ingredients."""


class RecipeNotFound(AggregateNotFound):
    """There is no such recipe."""


class IngredientNotFound(NotFound):
    """The recipe has no such ingredient."""

    ingredient: IngredientId
