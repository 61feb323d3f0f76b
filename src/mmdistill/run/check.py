"""`mmdistill check`: the audit of a recipe's data, without training."""

from __future__ import annotations

from mmdistill.data.audit import Audit, Reader, audit
from mmdistill.data.checks.findings import LEVELS
from mmdistill.data.table import read_table
from mmdistill.recipe import Recipe
from mmdistill.run.unused_seeds import unused_seeds


def check_recipe(recipe: Recipe, limit: int | None = None) -> Audit:
    """Look at the recipe's table: splits, classes, cells, presence, duplicates, leaks; and at seeds that are not used.

    Args:
        recipe: a checked recipe.
        limit: read the cells of at most so many rows; all when None.

    Raises:
        InputError: when the table itself cannot be read.
    """
    table = read_table(recipe.data.table, recipe.data.format, recipe.data.limit)
    models = {
        name: Reader(recipe.columns_of(spec), spec.modality_dropout) for name, spec in recipe.model_specs().items()
    }
    audited = audit(table, recipe.data, recipe.tasks, models=models, limit=limit)
    unused = unused_seeds(recipe)
    if unused is not None:
        audited.findings.append(unused)
        audited.findings.sort(key=lambda finding: LEVELS.index(finding.level))
    return audited
