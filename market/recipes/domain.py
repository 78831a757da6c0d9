"""Recipes: what goes into a dish, and how many calories that is."""

from collections.abc import Sequence
from typing import Self

from craton.domain import Aggregate, Id, Name, Text
from market.recipes.events import (
    BlankName,
    DescriptionTooShort,
    Ingredient,
    IngredientId,
    IngredientNotFound,
    IngredientRemoved,
    IngredientsAdded,
    NewIngredient,
    NothingToAdd,
    RecipeBegun,
    RecipeId,
    RecipeNotFound,
    TooManyIngredients,
)

MIN_DESCRIPTION_CHARACTERS = 10
MAX_INGREDIENTS = 200


class Recipe(Aggregate[RecipeId]):
    """The root: ingredients are only added and removed through it."""

    not_found = RecipeNotFound

    owner: Id
    name: Name
    description: Text
    ingredients: tuple[Ingredient, ...] = ()

    @classmethod
    def write(cls, owner: Id, name: Name, description: Text) -> Self:
        if not name:
            raise BlankName()
        if len(description) < MIN_DESCRIPTION_CHARACTERS:
            raise DescriptionTooShort()
        return cls.begin(RecipeId.new(), RecipeBegun(owner=owner, name=name, description=description))

    @property
    def total_calories(self) -> int:
        return sum(ingredient.calories for ingredient in self.ingredients)

    def add(self, new: Sequence[NewIngredient]) -> tuple[IngredientId, ...]:
        """Add ingredients, all or none."""
        if not new:
            raise NothingToAdd()
        if len(self.ingredients) + len(new) > MAX_INGREDIENTS:
            raise TooManyIngredients()
        added = tuple(map(Ingredient.new, new))
        self.record(IngredientsAdded(ingredients=added))
        return tuple(ingredient.id for ingredient in added)

    def remove(self, ingredient: IngredientId) -> None:
        if all(one.id != ingredient for one in self.ingredients):
            raise IngredientNotFound(ingredient=ingredient)
        self.record(IngredientRemoved(ingredient=ingredient))

    def apply(self, event: RecipeBegun | IngredientsAdded | IngredientRemoved) -> None:
        match event:
            case RecipeBegun(owner=owner, name=name, description=description):
                self.owner, self.name, self.description = owner, name, description
            case IngredientsAdded(ingredients=added):
                self.ingredients = (*self.ingredients, *added)
            case IngredientRemoved(ingredient=gone):
                self.ingredients = tuple(one for one in self.ingredients if one.id != gone)
