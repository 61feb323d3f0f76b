"""How well a single column tells the target, cross-validated, so that an identifier is not mistaken for a leak.

Each distinct value votes for the class (or mean) of the rows that share it outside the fold under test. A value that
occurs nowhere else votes with all values that are present, so that identifiers score no better than chance, while a
column that is filled only for one class is found out whatever it is filled with. Numbers are also tried as ranges,
which finds thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mmdistill.data.cells import Cell
from mmdistill.data.modalities.base import CellError
from mmdistill.data.modalities.numbers import parse_category, parse_number

FOLDS = 5
RANGES = 64
CLASSES = 100
Rule = Literal["values", "ranges"]

_MISSING, _SINGLE, _FIRST = 0, 1, 2  # codes: no value, a value that occurs once, the others


@dataclass(frozen=True)
class Determination:
    """How well a column alone predicts the target on rows that were not used for the prediction.

    Args:
        score: accuracy for classes; share of the variance (R²) for numbers.
        chance: what the most frequent class alone reaches; 0 for numbers.
        rows: rows looked at.
        rule: whether single values or ranges of numbers predicted best.
    """

    score: float
    chance: float
    rows: int
    rule: Rule

    @property
    def skill(self) -> float:
        """Share of the way from chance to a perfect score; may be negative."""
        return (self.score - self.chance) / (1 - self.chance) if self.chance < 1 else 0.0

    @property
    def gained_rows(self) -> float:
        """Rows that are told right beyond chance; few rows prove nothing."""
        return (self.score - self.chance) * self.rows


def class_determination(cells: Sequence[Cell], classes: Sequence[str]) -> Determination:
    """How well a column tells the class.

    Args:
        cells: the column, one cell a row; what is neither text nor number counts by its Python value.
        classes: the class of each row.
    """
    target = _class_codes(classes)
    one_hot = np.zeros((len(target), int(target.max()) + 1), dtype=np.float64)
    one_hot[np.arange(len(target)), target] = 1.0
    chance = float(one_hot.mean(axis=0).max())
    best: Determination | None = None
    for rule, codes in _encodings(cells).items():
        votes = _held_out_means(codes, one_hot)
        score = float((votes.argmax(axis=1) == target).mean())
        if best is None or score > best.score:
            best = Determination(score, chance, len(target), rule)
    assert best is not None
    return best


def number_determination(cells: Sequence[Cell], numbers: Sequence[float]) -> Determination:
    """How well a column tells a numeric target; the score is R² and may be negative."""
    target = np.asarray(numbers, dtype=np.float64)
    variance = float(target.var())
    best: Determination | None = None
    for rule, codes in _encodings(cells).items():
        error = float(np.square(_held_out_means(codes, target[:, None])[:, 0] - target).mean())
        score = 1 - error / variance if variance > 0 else 0.0
        if best is None or score > best.score:
            best = Determination(score, 0.0, len(target), rule)
    assert best is not None
    return best


def as_number(cell: Cell) -> float | None:
    """The finite number of a cell, None when it is empty or holds something else."""
    try:
        return parse_number(cell)
    except CellError:
        return None


def as_category(cell: Cell) -> str | None:
    """The category of a cell as text, None when it is empty; lists and mappings by their Python text."""
    try:
        return parse_category(cell)
    except CellError:
        return repr(cell)


def _class_codes(classes: Sequence[str]) -> NDArray[np.int64]:
    """Classes as 0, 1, ...; those beyond the `CLASSES` most frequent share the last code."""
    _, inverse, counts = np.unique(np.asarray(classes, dtype=np.str_), return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return np.minimum(rank, CLASSES)[inverse]


def _encodings(cells: Sequence[Cell]) -> dict[Rule, NDArray[np.int64]]:
    """The column as codes, by value and, where all values are numbers, by range."""
    names = [as_category(cell) for cell in cells]
    encodings: dict[Rule, NDArray[np.int64]] = {"values": _value_codes(names)}
    numbers = [None if name is None else as_number(name) for name in names]
    present = [number for number in numbers if number is not None]
    if len(present) == sum(name is not None for name in names) and len(set(present)) > RANGES // 2:
        edges = np.unique(np.quantile(present, np.linspace(0, 1, RANGES + 1)[1:-1]))
        codes = np.full(len(cells), _MISSING, dtype=np.int64)
        filled = np.array([number is not None for number in numbers])
        codes[filled] = _FIRST + np.searchsorted(edges, np.asarray(present), side="right")
        encodings["ranges"] = codes
    return encodings


def _value_codes(names: Sequence[str | None]) -> NDArray[np.int64]:
    filled = np.array([name is not None for name in names])
    codes = np.full(len(names), _MISSING, dtype=np.int64)
    if filled.any():
        _, inverse, counts = np.unique(
            np.asarray([name for name in names if name is not None], dtype=object).astype(np.str_),
            return_inverse=True,
            return_counts=True,
        )
        repeated = counts > 1
        compact = np.where(repeated, _FIRST + np.cumsum(repeated) - 1, _SINGLE)
        codes[filled] = compact[inverse]
    return codes


def _held_out_means(codes: NDArray[np.int64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each row the mean target, (N, C), of the rows with its code in the other folds.

    A code that has no row there takes the mean over all present rows of the other folds.
    """
    rows, width = target.shape
    fold = np.random.default_rng(0).permutation(rows) % FOLDS
    result = np.empty((rows, width))
    sums, counts = _by_code(codes, target)
    for index in range(FOLDS):
        held = fold == index
        held_sums, held_counts = _by_code(codes[held], target[held], len(counts))
        rest_sums, rest_counts = sums - held_sums, counts - held_counts
        present = codes[~held] != _MISSING
        fallback = target[~held][present].mean(axis=0) if present.any() else target[~held].mean(axis=0)
        means = np.where(rest_counts[:, None] > 0, rest_sums / np.maximum(rest_counts, 1)[:, None], fallback)
        result[held] = means[codes[held]]
    return result


def _by_code(
    codes: NDArray[np.int64], target: NDArray[np.float64], size: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    size = int(codes.max()) + 1 if size is None else size
    sums = np.stack([np.bincount(codes, weights=column, minlength=size) for column in target.T], axis=1)
    return sums.astype(np.float64), np.bincount(codes, minlength=size).astype(np.int64)
