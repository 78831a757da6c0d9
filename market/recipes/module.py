"""Recipes' wiring."""

from craton.application import Module
from market.recipes.api import Recipes
from market.recipes.http import routes
from market.recipes.read_models import AllRecipes
from market.recipes.use_cases import RecipesService

recipes = Module("recipes", api=Recipes, service=RecipesService, projections=[AllRecipes], routes=routes)
