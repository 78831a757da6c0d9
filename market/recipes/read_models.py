"""What recipes show."""

from craton.application import Projection
from craton.domain import Event, Recorded
from market.recipes import domain
from market.recipes.api import Recipe


class AllRecipes(Projection):
    """All recipes. Inline, so that owners see their changes at once."""

    inline = True

    def row(self, recipe: domain.Recipe, event: Recorded[Event]) -> Recipe:
        return Recipe(
            id=recipe.id,
            owner=recipe.owner,
            name=recipe.name,
            description=recipe.description,
            ingredients=recipe.ingredients,
            total_calories=recipe.total_calories,
            version=recipe.version,
            written_at=recipe.began_at,
            searched=f"{recipe.name} {recipe.description}",
        )
