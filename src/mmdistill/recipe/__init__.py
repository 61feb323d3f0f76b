"""The recipe: typed, checked before anything is loaded."""

from mmdistill.recipe.recipe import Recipe

__all__ = ["Recipe"]
