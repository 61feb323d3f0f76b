"""From the recipe's table to prepared rows, splits and targets: what every model of a run shares."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmdistill import catalog
from mmdistill.data.features import Feature, FeatureInfo, features_for
from mmdistill.data.loader import Loader
from mmdistill.data.splits import SIDES, Splits, split_rows
from mmdistill.data.store import PreparedRows, Progress, prepare
from mmdistill.data.table import Table, read_table
from mmdistill.errors import InputError
from mmdistill.recipe import Recipe
from mmdistill.recipe.schema import ModelSpec, TrainSpec
from mmdistill.tasks.task import State, Task

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """The rows of a run.

    Args:
        recipe: what they were made for.
        table: where they come from.
        splits: usable rows only; rows that could not be read are left out of every side.
        prepared: features of all models.
        tasks: the fitted tasks by name.
        states: what the tasks learnt from the training rows.
        targets: (values, labelled) of every row, by task.
    """

    recipe: Recipe
    table: Table
    splits: Splits
    prepared: PreparedRows
    tasks: dict[str, Task]
    states: dict[str, State]
    targets: dict[str, tuple[torch.Tensor, torch.Tensor]]

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Rows that have the target of any task."""
        return np.logical_or.reduce([labelled.numpy() for _, labelled in self.targets.values()])

    def infos(self, spec: ModelSpec) -> dict[str, FeatureInfo]:
        """The feature that a model reads of each of its columns."""
        return {feature.column: self.prepared.features[feature.name].info for feature in features_of(self.recipe, spec)}

    def train_rows(self, labelled_only: bool) -> Rows:
        """The training rows, or those of them that have a target."""
        rows = self.splits.train
        return rows[self.labelled[rows]] if labelled_only else rows

    def train_loader(
        self,
        rows: Rows,
        train: TrainSpec,
        features: Sequence[str],
        seed: int,
        device: torch.device,
        steps_per_epoch: int | None = None,
    ) -> Loader:
        """Shuffled, augmented batches; the order is a pure function of seed and epoch."""
        augment = {name: column.augmentation() for name, column in self.recipe.data.columns.items()}
        return Loader(
            self.prepared,
            self.targets,
            rows,
            train.batch_size,
            seed=seed,
            features=features,
            augment={name: options for name, options in augment.items() if options is not None},
            mixup=train.mixup,
            device=device,
            steps_per_epoch=steps_per_epoch,
        )

    def clean_loader(self, rows: Rows, features: Sequence[str], device: torch.device) -> Loader:
        """Clean rows in their own order."""
        size = self.recipe.evaluation.batch_size
        return Loader(self.prepared, self.targets, rows, size, shuffle=False, features=features, device=device)

    def targets_of(self, task: str, rows: Rows) -> NDArray[Any]:
        """The encoded targets of some rows."""
        values: NDArray[Any] = self.targets[task][0][torch.from_numpy(rows)].numpy()
        return values

    def identity(self) -> dict[str, str]:
        """Digests of the table and of the rows that are held out: whether another run could have trained on them."""
        held_out = np.concatenate([self.splits.validation, self.splits.test]).astype("<i8")
        return {"table": self.table.digest, "held_out": hashlib.sha256(held_out.tobytes()).hexdigest()}

    def facts(self) -> dict[str, Any]:
        """What data.json, results.json and the report say about the rows; plain data."""
        labelled = self.labelled
        sides = {side: {"rows": len(rows), "labelled": int(labelled[rows].sum())} for side, rows in self.splits.items()}
        missing = {
            column: {side: int((~present[torch.from_numpy(rows)]).sum()) for side, rows in self.splits.items()}
            for column, present in self.prepared.present.items()
        }
        return {
            "rows": len(self.table),
            "identity": self.identity(),
            "splits": sides,
            "dropped": len(self.splits.dropped),
            "missing": missing,
            "classes": self._classes(),
            "skipped": len(self.prepared.skipped),
            "skipped_rows": [
                {"row": bad.row, "where": self.table.where(bad.row), "column": bad.column, "reason": bad.reason}
                for bad in self.prepared.skipped[:100]
            ],
            "fingerprint": self.prepared.fingerprint,
        }

    def _classes(self) -> list[dict[str, Any]]:
        """Rows of each class on each side, for the first task that has classes."""
        for name, state in self.states.items():
            if "classes" in state:
                counts = {side: Counter(self.targets_of(name, rows).tolist()) for side, rows in self.splits.items()}
                return [
                    {"class": label, **{side: counts[side][index] for side in SIDES}}
                    for index, label in enumerate(state["classes"])
                ]
        return []


def features_of(recipe: Recipe, spec: ModelSpec) -> list[Feature]:
    """The features a model reads, in the order of its columns."""
    columns = {column: recipe.data.columns[column] for column in recipe.columns_of(spec)}
    return features_for(columns, spec.features)


def read_targets(recipe: Recipe, table: Table) -> dict[str, list[Any]]:
    """The target cells of every task."""
    cells = {}
    for name, task in recipe.tasks.items():
        column = task.target or recipe.data.target
        assert column is not None, "the recipe was checked"
        table.require(column, where="data.target")
        cells[name] = table.column(column)
    return cells


def split_labelled(recipe: Recipe, table: Table, cells: dict[str, list[Any]]) -> Splits:
    """The splits of the recipe; a row is labelled when any task has a target for it."""
    labelled = np.array([any(cell is not None for cell in row) for row in zip(*cells.values(), strict=True)])
    return split_rows(table, recipe.data.split, labelled)


def fit_tasks(
    recipe: Recipe, table: Table, cells: dict[str, list[Any]], splits: Splits
) -> tuple[dict[str, Task], dict[str, State], dict[str, tuple[torch.Tensor, torch.Tensor]]]:
    """Tasks with what they learnt from the training rows, and the encoded targets of all rows."""
    tasks: dict[str, Task] = {}
    states: dict[str, State] = {}
    targets = {}
    for name, spec in recipe.tasks.items():
        task: Task = catalog.get("task", spec.type).load()(spec.options())
        states[name] = task.fit(cells[name], splits.train, table.where)
        values, labelled = task.encode(cells[name], states[name], table.where)
        tasks[name], targets[name] = task, (torch.from_numpy(values), torch.from_numpy(labelled))
    return tasks, states, targets


def load_dataset(recipe: Recipe, progress: Progress | None = None, extra: Sequence[Feature] = ()) -> Dataset:
    """Read, split, encode and prepare everything the recipe's models read.

    Args:
        recipe: a checked recipe.
        progress: told about prepared rows.
        extra: features of models that the recipe does not describe, such as a teacher of an earlier run.

    Raises:
        InputError: naming file, row and column of what is wrong.
    """
    table = read_table(recipe.data.table, recipe.data.format, recipe.data.limit)
    cells = read_targets(recipe, table)
    splits = split_labelled(recipe, table, cells)
    if not len(splits.test):
        raise InputError("There are no test rows, so nothing could be shown", where="data.split", fix="Name some test")
    tasks, states, targets = fit_tasks(recipe, table, cells, splits)
    features = {feature.name: feature for feature in extra}
    for spec in recipe.model_specs().values():
        features.update({feature.name: feature for feature in features_of(recipe, spec)})
    prepared = prepare(table, list(features.values()), splits.train, on_error=recipe.data.on_error, progress=progress)
    dataset = Dataset(recipe, table, _usable(splits, prepared), prepared, tasks, states, targets)
    _refuse_emptied(dataset, splits)
    for name, task in tasks.items():
        task.check_validation(dataset.targets_of(name, dataset.splits.validation), states[name])
    return dataset


def _refuse_emptied(dataset: Dataset, before: Splits) -> None:
    """A side that is empty only because its rows could not be read, or has no target left.

    Raises:
        InputError: naming the side and the first of its rows that could not be read.
    """
    labelled = dataset.labelled
    for (side, rows), (_, wanted) in zip(dataset.splits.items(), before.items(), strict=True):
        if labelled[wanted].any() and not labelled[rows].any():
            bad = next(cell for cell in dataset.prepared.skipped if cell.row in wanted and labelled[cell.row])
            raise InputError(
                f"No row of the {side} split that has a target could be read; the first: the cell {bad.reason}",
                where=f"{dataset.table.where(bad.row)}, column {bad.column!r}",
                fix="Mend the cells, or leave the column out",
            )


def _usable(splits: Splits, prepared: PreparedRows) -> Splits:
    """The splits without rows that could not be read."""
    bad = np.unique([cell.row for cell in prepared.skipped]).astype(np.int64)
    if not len(bad):
        return splits
    kept = {side: np.setdiff1d(rows, bad) for side, rows in splits.items()}
    return Splits(**kept, dropped=splits.dropped, unlabelled=splits.unlabelled)
