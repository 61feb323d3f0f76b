"""Errors about a model of a run say which of its models it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mmdistill.errors import InputError
from mmdistill.recipe import Recipe
from mmdistill.run.plan import PlannedModel


def model_key(recipe: Recipe, planned: PlannedModel) -> str:
    """Where a model stands in the recipe, or its name if the run adds it, such as a baseline."""
    for key, models in (("teachers", recipe.teachers), ("students", recipe.students)):
        if planned.name in models:
            return f"{key}.{planned.name}"
    return planned.name


@contextmanager
def naming(recipe: Recipe, planned: PlannedModel) -> Iterator[None]:
    """Put the model in front of where an error inside happens, unless it says so itself."""
    try:
        yield
    except InputError as error:
        key = model_key(recipe, planned)
        if error.where == key or error.where.startswith(f"{key}."):
            raise
        where = f"{key}.{error.where}" if error.where else key
        raise type(error)(error.what, where=where, fix=error.fix) from error
