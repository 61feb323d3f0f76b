"""The tabular modality: numeric and categorical columns of the table become standardised numbers and indices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from mmdistill.data.cells import Cell
from mmdistill.data.modalities.base import ArraySpec, CellError, State, readable
from mmdistill.data.modalities.catalog import TabularOptions
from mmdistill.data.modalities.numbers import Reservoir, normal_scores, parse_category, parse_number, transform
from mmdistill.data.modalities.reader import CellReader
from mmdistill.errors import InputError

MISSING, UNKNOWN = 0, 1
_SAMPLE = 100_000  # numbers a column that statistics are taken from; all of them, when there are no more
_DISTINCT = 1_000_000  # categories counted at once; beyond it the rarer half is forgotten

Parsed = TypeVar("Parsed")


class TabularModality:
    """Cells of several source columns to ``numeric`` (N,), ``missing`` (N,) and ``categorical`` (K,).

    A missing number is imputed and marked; the row is absent only when all its cells are. State: ``numeric`` and
    ``categorical``, a mapping per source column with its ``name``, and ``cardinalities``, the number of indices per
    categorical column (0 missing, 1 unknown, 2... the categories, the most frequent first).
    """

    fit_rows: int | None = None

    def __init__(self, settings: TabularOptions, reader: CellReader) -> None:  # noqa: ARG002 - cells are values, not files
        self.settings = settings
        self._indices: tuple[State, list[dict[str, int]]] | None = None

    def absent(self, cells: dict[str, Cell]) -> bool:
        """Whether every cell is empty or white space."""
        return all(cell is None or (isinstance(cell, str) and not cell.strip()) for cell in cells.values())

    def fit(self, cells: Iterator[dict[str, Cell]]) -> State:
        """Means, deviations, quantiles and categories.

        Raises:
            CellError: when no row can be read.
            InputError: when the numbers of a column are too large to standardise.
        """
        samples = [Reservoir(_SAMPLE) for _ in self.settings.numeric]
        counts: list[Counter[str]] = [Counter() for _ in self.settings.categorical]
        for numbers, categories in readable(cells, self._parse):
            for sample, number in zip(samples, numbers, strict=True):
                if number is not None:
                    sample.add(number)
            for count, category in zip(counts, categories, strict=True):
                if category is not None:
                    count[category] += 1
                    if len(count) > _DISTINCT:
                        _forget_rare(count)
        settings = self.settings
        numeric = [self._numeric(name, sample.values) for name, sample in zip(settings.numeric, samples, strict=True)]
        categorical = [
            {"name": name, "categories": _frequent(count, settings.min_count, settings.max_categories)}
            for name, count in zip(settings.categorical, counts, strict=True)
        ]
        cardinalities = [2 + len(column["categories"]) for column in categorical]
        return {"numeric": numeric, "categorical": categorical, "cardinalities": cardinalities}

    def extract(self, cells: dict[str, Cell], state: State) -> dict[str, np.ndarray]:
        """``numeric`` float32 (N,) standardised, ``missing`` bool (N,), ``categorical`` int64 (K,).

        Raises:
            CellError: for a word or infinity in a numeric column, and for a category that is no text or number;
                it names the column.
        """
        numbers, categories = self._parse(cells)
        missing = np.array([number is None for number in numbers], dtype=np.bool_)
        numeric = np.array(
            [_standardised(number, column) for number, column in zip(numbers, state["numeric"], strict=True)],
            dtype=np.float64,
        )
        far = np.flatnonzero(np.abs(numeric) > np.finfo(np.float32).max)
        if len(far):
            name = self.settings.numeric[int(far[0])]
            raise CellError(
                f"of {name!r} ({numbers[int(far[0])]:g}) is too far from the training rows", fix="Correct the number"
            )
        categorical = [
            MISSING if category is None else known.get(category, UNKNOWN)
            for category, known in zip(categories, self._indices_of(state), strict=True)
        ]
        return {
            "numeric": numeric.astype(np.float32),
            "missing": missing,
            "categorical": np.array(categorical, dtype=np.int64),
        }

    def arrays(self, state: State) -> dict[str, ArraySpec]:  # noqa: ARG002 - the same for every state
        """``numeric`` (N,), ``missing`` (N,) and ``categorical`` (K,)."""
        numeric, categorical = len(self.settings.numeric), len(self.settings.categorical)
        return {
            "numeric": ArraySpec((numeric,), "float32"),
            "missing": ArraySpec((numeric,), "bool"),
            "categorical": ArraySpec((categorical,), "int64"),
        }

    def _parse(self, cells: dict[str, Cell]) -> tuple[list[float | None], list[str | None]]:
        return (
            [_parsed(name, cells[name], parse_number) for name in self.settings.numeric],
            [_parsed(name, cells[name], parse_category) for name in self.settings.categorical],
        )

    def _numeric(self, name: str, sample: np.ndarray) -> dict[str, Any]:
        """The statistics of one numeric column; ``fill`` is what stands for a missing number, in standardised units."""
        scaling = self.settings.scaling_of(name)
        column: dict[str, Any] = {"name": name, "scaling": scaling, "mean": 0.0, "std": 1.0, "fill": 0.0}
        if not len(sample):  # never seen in training rows: always missing
            return column | ({"knots": [0.0], "scores": [0.0]} if scaling == "quantile" else {})
        if scaling == "quantile":
            column |= normal_scores(sample)
        with np.errstate(over="ignore", invalid="ignore"):
            values = transform(sample, column)
            mean, std = float(values.mean()), float(values.std())
            centre = float(np.median(values) if self.settings.impute == "median" else mean)
        if not np.isfinite([mean, std, centre]).all():
            raise InputError(
                f"The numbers of the column {name!r} are too large to standardise",
                fix="Use `scaling: log` or `scaling: quantile` for it",
            )
        std = std if std > 1e-12 * max(1.0, abs(mean)) else 1.0
        return column | {"mean": mean, "std": std, "fill": (centre - mean) / std}

    def _indices_of(self, state: State) -> list[dict[str, int]]:
        if self._indices is None or self._indices[0] is not state:
            indices = [
                {category: index for index, category in enumerate(column["categories"], start=2)}
                for column in state["categorical"]
            ]
            self._indices = (state, indices)
        return self._indices[1]


def _parsed(name: str, cell: Cell, parse: Callable[[Cell], Parsed]) -> Parsed:
    try:
        return parse(cell)
    except CellError as error:
        raise CellError(f"of {name!r} {error.reason}", fix=error.fix) from error


def _standardised(number: float | None, column: dict[str, Any]) -> float:
    if number is None:
        return float(column["fill"])
    return (float(transform(np.asarray(number), column)) - column["mean"]) / column["std"]


def _forget_rare(count: Counter[str]) -> None:
    kept = count.most_common(_DISTINCT // 2)
    count.clear()
    count.update(dict(kept))


def _frequent(count: Counter[str], min_count: int, most: int) -> list[str]:
    """Categories by falling count; equal counts in alphabetical order."""
    ranked = sorted(((-times, category) for category, times in count.items() if times >= min_count))
    return [category for _, category in ranked[:most]]
