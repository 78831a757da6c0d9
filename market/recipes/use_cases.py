"""What is done with recipes."""

from craton.application import Page, Paging, Repository, View, permit
from craton.domain import Id, Name, Text
from market.recipes import domain
from market.recipes.api import Recipe, Recipes
from market.recipes.events import IngredientId, NewIngredient, RecipeId


class RecipesService(Recipes):
    def __init__(self, recipes: Repository[domain.Recipe], rows: View[Recipe]) -> None:
        self._recipes = recipes
        self._rows = rows

    async def write(self, owner: Id, name: Name, description: Text) -> RecipeId:
        recipe = domain.Recipe.write(owner, name, description)
        self._recipes.add(recipe)
        return recipe.id

    async def add(
        self, recipe: RecipeId, ingredients: tuple[NewIngredient, ...] | NewIngredient
    ) -> tuple[IngredientId, ...]:
        new = (ingredients,) if isinstance(ingredients, NewIngredient) else ingredients
        return (await self._own(recipe)).add(new)

    async def remove(self, recipe: RecipeId, ingredient: IngredientId) -> None:
        (await self._own(recipe)).remove(ingredient)

    async def recipe(self, recipe: RecipeId) -> Recipe:
        return await self._rows.get(recipe)

    async def recipes(self, *, q: Text | None = None, paging: Paging = Paging()) -> Page[Recipe]:
        return await self._rows.page(contains={"searched": q}, order="-written_at", paging=paging)

    async def _own(self, recipe: RecipeId) -> domain.Recipe:
        """A recipe of the caller's. Raises `AccessDenied` for another's."""
        found = await self._recipes.get(recipe)
        permit(found.owner)
        return found
