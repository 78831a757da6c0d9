"""Recipes' front door. Others may import it."""

from __future__ import annotations

from datetime import datetime

from craton.application import Api, Hidden, Index, Key, Page, Paging, Row, Search, command, query
from craton.domain import Id, Name, Text
from market.recipes.events import Ingredient, IngredientId, NewIngredient, RecipeId, RecipeNotFound


class Recipes(Api):
    """Recipes, which everybody can read and only their owners can change."""

    @command
    async def write(self, owner: Id, name: Name, description: Text) -> RecipeId:
        """Begin a recipe, without ingredients."""

    @command
    async def add(
        self, recipe: RecipeId, ingredients: tuple[NewIngredient, ...] | NewIngredient
    ) -> tuple[IngredientId, ...]:
        """Add an ingredient, or a list of ingredients, to a recipe of your own: all or none. Returns their ids."""

    @command
    async def remove(self, recipe: RecipeId, ingredient: IngredientId) -> None:
        """Remove an ingredient from a recipe of your own."""

    @query
    async def recipe(self, recipe: RecipeId) -> Recipe:
        """A recipe."""

    @query
    async def recipes(self, *, q: Text | None = None, paging: Paging = Paging()) -> Page[Recipe]:
        """Recipes, newest first. With `q`, only those whose name or description contains it."""


class Recipe(Row):
    not_found = RecipeNotFound

    id: Key[RecipeId]
    owner: Id
    name: Name
    description: Text
    ingredients: tuple[Ingredient, ...]
    total_calories: int
    version: int
    written_at: Hidden[Index[datetime]]
    searched: Hidden[Search[str]]
