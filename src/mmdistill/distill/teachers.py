"""Teachers from earlier runs, checked against the columns and the classes of this one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmdistill.errors import InputError, nearest
from mmdistill.models.saving import load_model

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo
    from mmdistill.models.multimodal import MultimodalModel

# What an encoder does with these happens inside the model, so they do not change what is extracted.
INSIDE_THE_MODEL = frozenset({"mean", "std"})


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


def match_features(teacher: MultimodalModel, prepared: Mapping[str, FeatureInfo], where: str = "teacher.run") -> None:
    """Point a teacher to the prepared features that hold what it was trained on.

    A feature may have another name here; it must be of the same column, with the same settings and the same vocabulary,
    categories and sizes.

    Args:
        teacher: its `features` and `feature_names` are changed to the names that are used here.
        prepared: by name, the features of this run.
        where: for messages.

    Raises:
        InputError: when a column that the teacher reads is missing or was prepared differently, saying how.
    """
    found: dict[str, FeatureInfo] = {}
    for column, info in teacher.features.items():
        candidates = [one for one in prepared.values() if one.column == column]
        if not candidates:
            columns = sorted({one.column for one in prepared.values()})
            raise InputError(
                f"The teacher reads the column {column!r}, which this table does not have",
                where=where,
                fix=nearest(column, columns),
            )
        differences = {one.name: _differences(info, one) for one in candidates}
        equal = [one for one in candidates if not differences[one.name]]
        if not equal:
            closest = min(candidates, key=lambda one: len(differences[one.name]))
            raise InputError(
                f"The teacher was trained on the column {column!r} prepared differently: "
                f"{'; '.join(differences[closest.name])}",
                where=where,
                fix=f"Give teacher.features.{column} the teacher's settings, and use the same training rows",
            )
        found[column] = equal[0]
    teacher.features = {
        column: dataclasses.replace(info, name=found[column].name) for column, info in teacher.features.items()
    }
    teacher.feature_names = tuple(info.name for info in teacher.features.values())


def _differences(theirs: FeatureInfo, ours: FeatureInfo) -> list[str]:
    """What differs between two features so that the same cell would give other arrays."""
    if theirs.type != ours.type:
        return [f"it was {theirs.type} and is {ours.type}"]
    found = []
    for what, one, other in (("settings", theirs.settings, ours.settings), ("state", theirs.state, ours.state)):
        for key in sorted({*one, *other}):
            if what == "state" and key in INSIDE_THE_MODEL:
                continue
            if one.get(key) != other.get(key):
                found.append(f"{key} was {_short(one.get(key))} and is {_short(other.get(key))}")
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def match_classes(
    teacher: nn.Module, tap: str, theirs: Sequence[str], ours: Sequence[str], where: str = "teacher.run"
) -> nn.Module:
    """The teacher with its classes in the order of this run.

    Args:
        teacher: gives the logits of its classes under `tap`.
        tap: of the logits.
        theirs: the teacher's classes, in its order.
        ours: the classes of this run.
        where: for messages.

    Returns:
        The teacher itself when the order is the same, else one whose logits are reordered by the names of the classes.

    Raises:
        InputError: when the classes are not the same ones.
    """
    if list(theirs) == list(ours):
        return teacher
    missing, unknown = [name for name in ours if name not in theirs], [name for name in theirs if name not in ours]
    if missing or unknown:
        parts = [f"it does not know {_names(missing)}"] * bool(missing)
        parts += [f"it knows {_names(unknown)} beside them"] * bool(unknown)
        raise InputError(
            f"The teacher's classes are not those of this run: {' and '.join(parts)}",
            where=where,
            fix="Use a teacher that was trained on the same classes, or a loss that compares features",
        )
    return ReorderedClasses(teacher, tap, [list(theirs).index(name) for name in ours])


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


class ReorderedClasses(nn.Module):
    """A model whose logits stand in another order of the same classes.

    Args:
        model: the model.
        tap: of its logits, (B, …, C).
        order: for each class here, its index in the model.
    """

    def __init__(self, model: nn.Module, tap: str, order: Sequence[int]) -> None:
        super().__init__()
        self.model, self.tap = model, tap
        self.order: Tensor
        self.register_buffer("order", torch.tensor(list(order), dtype=torch.int64))

    @property
    def columns(self) -> Sequence[str]:
        """The columns that the model reads."""
        columns: Sequence[str] = self.model.columns  # type: ignore[assignment]
        return columns

    @property
    def features(self) -> Mapping[str, FeatureInfo]:
        """The feature of each column that the model reads."""
        features: Mapping[str, FeatureInfo] = self.model.features  # type: ignore[assignment]
        return features

    @property
    def feature_names(self) -> Sequence[str]:
        """The names of those features."""
        names: Sequence[str] = self.model.feature_names  # type: ignore[assignment]
        return names

    @property
    def taps(self) -> Mapping[str, tuple[int | None, ...]]:
        """Every tap with its shape per row."""
        taps: Mapping[str, tuple[int | None, ...]] = self.model.taps  # type: ignore[assignment]
        return taps

    def forward(self, features: Any, present: Any = None) -> dict[str, Tensor]:
        """The outputs of the model, its logits reordered."""
        outputs = dict(self.model(features, present))
        outputs[self.tap] = outputs[self.tap].index_select(-1, self.order)
        return outputs
