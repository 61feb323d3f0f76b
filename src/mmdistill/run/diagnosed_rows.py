"""The rows that a diagnosis looks at: training and validation rows, never those of the test."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mmdistill.data.store import FeatureStore
from mmdistill.errors import InputError
from mmdistill.evaluation.diagnosis.data import PlainRows
from mmdistill.evaluation.diagnosis.estimates import RESAMPLES, make_scorer
from mmdistill.evaluation.diagnosis.plain import plain_column
from mmdistill.evaluation.diagnosis.probes import ClassWeight
from mmdistill.run.dataset import Dataset, Rows

MOST_ROWS = 5_000
"""Labelled, unlabelled and validation rows, each; more make a linear model slow, and hardly better."""


@dataclass(frozen=True)
class DiagnosedRows:
    """Row numbers, and the same rows for probes.

    Args:
        train: of training rows, rising, labelled or not.
        validation: of labelled validation rows, rising.
        plain: the same rows as plain matrices.
        all_labelled: labelled training rows that there are; more than in `train` where those are many.
        all_unlabelled: unlabelled training rows that there are.
    """

    train: Rows
    validation: Rows
    plain: PlainRows
    all_labelled: int
    all_unlabelled: int


def without_test_rows(dataset: Dataset) -> Dataset:
    """The dataset with an empty test split, so that nothing that is handed it can read a test row."""
    return replace(dataset, splits=replace(dataset.splits, test=np.zeros(0, dtype=np.int64)))


def diagnosed_rows(dataset: Dataset, task: str) -> DiagnosedRows:
    """Choose the rows and make the plain matrices of every column.

    Args:
        dataset: of a recipe; its test rows are not looked at.
        task: the task whose primary metric is diagnosed.

    Raises:
        InputError: when there are no validation rows with a target, or the task has no classes.
    """
    state = dataset.states[task]
    if "classes" not in state:
        raise InputError(
            f"The task {task!r} has no classes, and only classification can be diagnosed",
            where=f"tasks.{task}",
            fix="Put a task with classes first",
        )
    values, has_target = (part.numpy() for part in dataset.targets[task])
    validation = dataset.splits.validation[has_target[dataset.splits.validation]]
    if not len(validation):
        raise InputError(
            "There are no validation rows with a target, and a diagnosis never reads the test rows",
            where="data.split",
            fix="Hold some rows out, such as with data.split.validation=0.1",
        )
    train = dataset.splits.train
    labelled, unlabelled = train[has_target[train]], train[~has_target[train]]
    chosen = np.sort(np.concatenate([_some(labelled), _some(unlabelled)]))
    validation = _some(validation)
    scorer = make_scorer(
        dataset.tasks[task],
        state,
        values[validation],
        resamples=min(RESAMPLES, dataset.recipe.evaluation.resamples),
        groups=_groups(dataset, validation),
    )
    columns = {
        column: plain_column(store, dataset.prepared.present[column], chosen, validation)
        for column, store in stores(dataset).items()
    }
    targets = np.where(has_target[chosen], values[chosen], -1)
    plain = PlainRows(columns, targets, scorer, class_weight(dataset, task))
    return DiagnosedRows(chosen, validation, plain, len(labelled), len(unlabelled))


def stores(dataset: Dataset) -> dict[str, FeatureStore]:
    """One feature of every column that a model reads, the recipe's own before that of a borrowed teacher, by column."""
    found: dict[str, FeatureStore] = {}
    for store in sorted(dataset.prepared.features.values(), key=lambda one: (one.info.column, one.info.name)):
        found.setdefault(store.info.column, store)
    return found


def class_weight(dataset: Dataset, task: str) -> ClassWeight:
    """How probes weigh the classes: as the task does, and alike where its metric is a mean over classes."""
    options = dataset.recipe.tasks[task].options()
    weights = options.class_weights
    if isinstance(weights, dict):
        return {index: weights.get(name, 1.0) for index, name in enumerate(dataset.states[task]["classes"])}
    return "balanced" if weights == "balanced" or dataset.tasks[task].primary.startswith("macro_") else None


def _some(rows: Rows) -> Rows:
    """The rows, or so many of them that were drawn with a fixed seed."""
    if len(rows) <= MOST_ROWS:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, MOST_ROWS, replace=False))


def _groups(dataset: Dataset, rows: Rows) -> np.ndarray | None:
    """Rows of one speaker or patient are drawn together."""
    column = dataset.recipe.data.split.group
    if column is None:
        return None
    cells = dataset.table.column(column)
    return np.array([str(cells[row]) for row in rows])
