"""The stages of a run in order, each resumable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmdistill.recipe import Recipe
    from mmdistill.run.stages import FinishedRun


def run(recipe: Recipe, root: str | Path = "runs", overwrite: bool = False, progress: bool = False) -> FinishedRun:
    """Prepare rows, train every model of a recipe, measure them on the test rows, and write the report.

    A run that was interrupted is resumed; a finished one is only read.

    Args:
        recipe: from `Recipe.load` or `Recipe.from_mapping`.
        root: folder in which the run folder `<root>/<recipe.name>` is made.
        overwrite: replace a run of the same name.
        progress: show progress bars.

    Returns:
        The folder and the content of results.json.

    Raises:
        InputError: bad data, or a run folder that belongs to another recipe or process.
        MMDistillError: a full disk, a loss that became infinite, an interruption.
    """
    from mmdistill.errors import require

    require("torch", "train", "A run")
    from mmdistill.run.stages import execute

    return execute(recipe, Path(root), overwrite, progress)
