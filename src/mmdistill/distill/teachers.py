"""Teachers from earlier runs, their classes checked against those of this one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmdistill.errors import InputError, nearest
from mmdistill.models.saving import load_model

if TYPE_CHECKING:
    from mmdistill.models.multimodal import MultimodalModel


def load_teacher(
    run: Path, model: str = "teacher", seed: int | None = None, device: torch.device | str = "cpu"
) -> tuple[MultimodalModel, dict[str, Any]]:
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
    teacher: MultimodalModel, task: str, theirs: Sequence[str], ours: Sequence[str], where: str = "teacher.run"
) -> None:
    """Put a teacher's classes into the order of this run, in its head.

    Args:
        teacher: its linear head of `task` is changed in place.
        task: name of the task.
        theirs: the teacher's classes, in its order.
        ours: the classes of this run.
        where: for messages.

    Raises:
        InputError: when the classes are not the same ones.
    """
    if list(theirs) == list(ours):
        return
    missing, unknown = [name for name in ours if name not in theirs], [name for name in theirs if name not in ours]
    if missing or unknown:
        parts = [f"it does not know {_names(missing)}"] * bool(missing)
        parts += [f"it knows {_names(unknown)} beside them"] * bool(unknown)
        raise InputError(
            f"The teacher's classes are not those of this run: {' and '.join(parts)}",
            where=where,
            fix="Use a teacher that was trained on the same classes",
        )
    head = teacher.heads[task]
    order = torch.tensor([list(theirs).index(name) for name in ours])
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(parameter[order])


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
