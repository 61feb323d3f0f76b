"""Teachers from earlier runs, their classes checked against those of this one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mmdistill.distill.class_order import class_order, reorder_outputs
from mmdistill.errors import InputError, nearest
from mmdistill.models.any_model import AnyModel
from mmdistill.models.custom.model import CustomModel
from mmdistill.models.saving import load_model
from mmdistill.models.tap_names import logits_tap


def load_teacher(
    run: Path, model: str = "teacher", seed: int | None = None, device: torch.device | str = "cpu"
) -> tuple[AnyModel, dict[str, Any]]:
    """A finished model of an earlier run, in evaluation mode, and its card.

    Args:
        run: folder of the run.
        model: which of its models.
        seed: which of its trainings; the lowest when left out.
        device: where it goes.

    Raises:
        InputError: when there is no such run, model or seed, or the model is damaged.
    """
    if not run.is_dir():
        raise InputError("There is no such run folder", where=str(run), fix="Check teacher.run")
    seeds = _seeds(run / model)
    if not seeds:
        models = sorted(path.name for path in run.iterdir() if path.is_dir() and _seeds(path))
        raise InputError(
            f"The run has no trained model named {model!r}",
            where=str(run),
            fix=f"{nearest(model, models)} (teacher.model)",
        )
    if seed is not None and seed not in seeds:
        raise InputError(
            f"The model {model!r} was not trained with seed {seed}",
            where=str(run),
            fix=f"Its seeds are: {', '.join(map(str, sorted(seeds)))}",
        )
    return load_model(seeds[min(seeds) if seed is None else seed], map_location=device)


def _seeds(folder: Path) -> dict[int, Path]:
    """Seed → folder of the finished trainings of a model."""
    found = {path.name.removeprefix("seed-"): path for path in folder.glob("seed-*") if (path / "model.json").is_file()}
    return {int(seed): path for seed, path in found.items() if seed.isdigit()}


def reorder_classes(
    teacher: AnyModel,
    task: str,
    theirs: Sequence[str],
    ours: Sequence[str],
    where: str = "teacher.run",
) -> None:
    """Put a teacher's classes into the order of this run: in its linear head, or behind a custom model's outputs.

    Args:
        teacher: changed in place.
        task: name of the task.
        theirs: the teacher's classes, in its order.
        ours: the classes of this run.
        where: for messages.

    Raises:
        InputError: when the classes are not the same ones.
    """
    if isinstance(teacher, CustomModel):
        reorder_outputs(teacher, logits_tap(task, teacher.tasks), theirs, ours, where)
        return
    order = class_order(theirs, ours, where)
    if order is None:
        return
    with torch.no_grad():
        for parameter in teacher.heads[task].parameters():
            parameter.copy_(parameter[order])
