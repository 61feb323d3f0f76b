"""`mmdistill diagnose`: which modality teaches, what the teacher is worth, and whether a student can gain.

Training and validation rows only: everything here is handed a dataset whose test split is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from mmdistill.data.features import Feature, learnt_feature
from mmdistill.errors import InputError, require
from mmdistill.files import disk_errors, read_json, write_json
from mmdistill.models.saving import load_model
from mmdistill.recipe import Recipe
from mmdistill.run.borrowed import borrow_teachers
from mmdistill.run.dataset import Dataset, load_dataset
from mmdistill.run.diagnosed_models import trained_seeds
from mmdistill.run.diagnosed_rows import DiagnosedRows, diagnosed_rows, without_test_rows
from mmdistill.run.diagnosis import diagnosis_of_rows, diagnosis_of_run
from mmdistill.run.folder import DIGEST, RunFolder, find_run, open_run
from mmdistill.run.plan import plan
from mmdistill.run.stages import open_workshop, refuse_changed_table, shown_preparation, train_models
from mmdistill.run.workshop import Workshop
from mmdistill.training.accelerator import make_accelerator
from mmdistill.training.progress import Silent


@dataclass(frozen=True)
class Diagnosed:
    """A diagnosis and where it was written.

    Args:
        diagnosis: the content of the JSON file.
        page: the HTML page; the JSON file stands beside it, with the same name.
    """

    diagnosis: dict[str, Any]
    page: Path


def diagnose_path(
    path: Path,
    overrides: Sequence[str] = (),
    root: str | Path = "runs",
    *,
    quick: bool = False,
    output: Path | None = None,
    progress: bool = False,
) -> Diagnosed:
    """Diagnose what stands at a path: a recipe when it is a file, else a run.

    Args:
        path: a YAML file, a run folder, or a run's name below ``runs/``.
        overrides: keys of a recipe to set.
        root: see `diagnose_recipe`.
        quick: see `diagnose_recipe`.
        output: see `diagnose_recipe`.
        progress: see `diagnose_recipe`.

    Raises:
        InputError: when there is nothing there, a run is given keys to set, or the page does not end in .html; and see
            `diagnose_recipe` and `diagnose_run`.
    """
    require("torch", "train", "A diagnosis")
    if output is not None and output.suffix != ".html":
        raise InputError("The page of a diagnosis is written as .html", where=str(output))
    if path.is_file() or path.suffix in {".yaml", ".yml"}:
        recipe = Recipe.load(path, overrides)
        return diagnose_recipe(recipe, root, quick=quick, output=output, progress=progress)
    if overrides:
        raise InputError(
            f"A run is diagnosed as it was made, so {overrides[0]!r} cannot be set",
            where=str(path),
            fix="Give the recipe instead of the run folder",
        )
    return diagnose_run(find_run(path), quick=quick, output=output)


def diagnose_recipe(
    recipe: Recipe,
    root: str | Path = "runs",
    *,
    quick: bool = False,
    output: Path | None = None,
    progress: bool = False,
) -> Diagnosed:
    """Diagnose a recipe: classical probes, then its teachers, which are trained into the run folder when they are not.

    A later `run` of the same recipe finds the teachers done.

    Args:
        recipe: a checked recipe.
        root: folder of the run folders.
        quick: probes alone; nothing is trained, and no network is looked at.
        output: the page; in the run folder when None, and, with `quick` and no trained run folder,
            ``diagnosis-<name>.html`` in the working directory.
        progress: show what is done.

    Raises:
        InputError: when there are no validation rows, the task has no classes, or what `run` would refuse.
    """
    if quick:
        return _write(diagnosis_of_rows(_dataset(recipe, progress)), output or _quick_page(recipe, Path(root)))
    # Before anything is trained: a recipe without validation rows cannot be diagnosed.
    rows = _rows_of(recipe, progress)
    with open_run(recipe, root) as folder, disk_errors(folder.path):
        if folder.results.exists():
            refuse_changed_table(recipe, folder)
            shop = _shop(recipe, folder)
        else:
            opened = open_workshop(recipe, folder, progress)
            train_models(opened, (planned for planned in opened.shop.plan.models if planned.role == "teacher"))
            shop = opened.shop
        return _write(diagnosis_of_run(_sealed(shop), rows), output or folder.path / "diagnosis.html")


def diagnose_run(folder: RunFolder, *, quick: bool = False, output: Path | None = None) -> Diagnosed:
    """Diagnose the models of a run that are finished; nothing is trained.

    Args:
        folder: of the run.
        quick: probes alone.
        output: the page; ``diagnosis.html`` in the run folder when None.

    Raises:
        InputError: when no teacher or student is finished, the table has changed, or there are no validation rows.
    """
    recipe = Recipe.load(folder.recipe)
    page = output or folder.path / "diagnosis.html"
    if quick:
        return _write(diagnosis_of_rows(_dataset(recipe, progress=False)), page)
    shop = _shop(recipe, folder)
    if not any(trained_seeds(shop, planned) for planned in shop.plan.models):
        raise InputError(
            "No model of this run is finished",
            where=str(folder.path),
            fix="Give the recipe instead, which trains the teacher first, or add --quick",
        )
    refuse_changed_table(recipe, folder)
    sealed = _sealed(shop)
    return _write(diagnosis_of_run(sealed, diagnosed_rows(sealed.dataset, sealed.primary_task)), page)


def _write(diagnosis: dict[str, Any], page: Path) -> Diagnosed:
    from mmdistill.report.diagnosis.page import write_page

    write_json(page.with_suffix(".json"), diagnosis)
    write_page(diagnosis, page)
    return Diagnosed(diagnosis, page)


def _quick_page(recipe: Recipe, root: Path) -> Path:
    """In the run folder when it is this recipe's and holds a model; else in the working directory."""
    folder = root / recipe.name
    held = folder / DIGEST
    if held.exists() and read_json(held).get("recipe") == recipe.digest() and any(folder.glob("*/seed-*/model.json")):
        return folder / "diagnosis.html"
    return Path(f"diagnosis-{recipe.name}.html")


def _rows_of(recipe: Recipe, progress: bool) -> DiagnosedRows:
    return diagnosed_rows(_dataset(recipe, progress), next(iter(recipe.tasks)))


def _dataset(recipe: Recipe, progress: bool) -> Dataset:
    shown = shown_preparation(Console(stderr=True)) if progress else None
    extra = [feature for teacher in borrow_teachers(recipe).values() for feature in teacher.features]
    return without_test_rows(load_dataset(recipe, shown, extra))


def _shop(recipe: Recipe, folder: RunFolder) -> Workshop:
    """The workshop of a run whose models are looked at only."""
    dataset = load_dataset(recipe, extra=_learnt_features(recipe, folder))
    return Workshop(recipe, plan(recipe), folder, dataset, make_accelerator(recipe.compute), Silent())


def _learnt_features(recipe: Recipe, folder: RunFolder) -> list[Feature]:
    """What teachers of earlier runs read; this run holds a copy of them, wherever that run is now."""
    return [
        learnt_feature(info)
        for planned in plan(recipe).models
        if planned.name in recipe.teachers and recipe.teachers[planned.name].run is not None
        for seed in planned.seeds
        if folder.is_trained(planned.name, seed)
        for info in load_model(folder.seed(planned.name, seed))[0].features.values()
    ]


def _sealed(shop: Workshop) -> Workshop:
    return replace(shop, dataset=without_test_rows(shop.dataset))
