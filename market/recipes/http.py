"""Which URL is which method of recipes' API."""

from craton.application import Routes, delete, get, post, public
from market.recipes.api import Recipes

routes = Routes(
    post("/v1/recipes", Recipes.write, status=201, location="/v1/recipes/{id}", caller="owner"),
    get("/v1/recipes", Recipes.recipes, access=public),
    get("/v1/recipes/{recipe}", Recipes.recipe, access=public),
    post("/v1/recipes/{recipe}/ingredients", Recipes.add, status=201),
    delete("/v1/recipes/{recipe}/ingredients/{ingredient}", Recipes.remove),
)
