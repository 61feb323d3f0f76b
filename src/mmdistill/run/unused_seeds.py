"""A recipe of teachers alone whose seeds are not used: a teacher is trained once unless it says `per_seed`."""

from __future__ import annotations

from mmdistill.data.audit import Finding
from mmdistill.recipe import Recipe
from mmdistill.run.plan import plan


def unused_seeds(recipe: Recipe) -> Finding | None:
    """A warning where several seeds are given, no student uses them and every teacher is trained with one."""
    trained = [one for one in recipe.teachers.values() if not one.trained]
    if recipe.students or not trained or len(recipe.seeds) < 2:
        return None
    if any(len(model.seeds) > 1 for model in plan(recipe).models):
        return None
    return Finding(
        "warning",
        "unused-seeds",
        "seeds",
        f"The recipe has {len(recipe.seeds)} seeds and no student, and no teacher has `per_seed`: every teacher is "
        f"trained with seed {recipe.seeds[0]} alone, and how its scores change from seed to seed will not be known.",
        "Set `per_seed: true` for the teachers, or give one seed.",
    )
