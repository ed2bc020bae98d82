"""What a family needs beyond its model: data, batches, loss, metric and training.

recipe = recipes.all_recipes("path/to/data")["LeNet"]
model = recipe.model()
losses = recipes.train(recipe, model, seed=0)
print(recipe.metric, recipe.evaluate(model))
"""

from nnzoo_fast.recipes.recipe import Recipe, train
from nnzoo_fast.recipes.registry import FAMILIES, all_recipes

__all__ = ["FAMILIES", "Recipe", "all_recipes", "train"]
