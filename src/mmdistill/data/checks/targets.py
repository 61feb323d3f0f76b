"""What the target columns hold: classes, numbers, gaps; and what is odd about them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmdistill.data.cells import Cell, is_nan
from mmdistill.data.checks.determination import as_category, as_number
from mmdistill.data.checks.findings import Finding, listed, share
from mmdistill.data.splits import Splits
from mmdistill.data.table import Table

FEW_ROWS = 10
MANY_CLASSES = 50
ONE_SIDED = 0.95


@dataclass(frozen=True)
class Target:
    """A target column as an audit sees it.

    Args:
        task: name of the task in the recipe.
        column: column of the table.
        classification: whether every row has one class.
        cells: the column, NaN as it is.
        names: class of each row as text, None for a row without a target.
    """

    task: str
    column: str
    classification: bool
    cells: list[Cell]
    names: list[str | None]

    @classmethod
    def read(cls, table: Table, task: str, column: str, classification: bool) -> Target:
        """Read a target column.

        Raises:
            InputError: when there is no such column.
        """
        cells = table.column(column)
        return cls(task, column, classification, cells, [as_category(cell) for cell in cells])

    @property
    def labelled(self) -> np.ndarray:
        """(rows,) whether a row has a target."""
        return np.array([name is not None for name in self.names], dtype=np.bool_)

    def facts(self, splits: Splits) -> dict[str, Any]:
        """Classes per split, or the range of a numeric target."""
        base: dict[str, Any] = {"column": self.column, "unlabelled": int((~self.labelled).sum())}
        if self.classification:
            counts = {side: self._counts(rows) for side, rows in splits.items()}
            names = sorted({name for side in counts.values() for name in side})
            base["classes"] = {name: {side: counts[side][name] for side in counts} for name in names}
        else:
            numbers = [number for cell in self.cells if (number := as_number(cell)) is not None]
            base["numbers"] = len(numbers)
            if numbers:
                base["quantiles"] = [float(value) for value in np.quantile(numbers, (0, 0.01, 0.5, 0.99, 1))]
        return base

    def findings(self, table: Table, splits: Splits) -> Iterator[Finding]:
        """Everything odd about the target."""
        yield from self._not_finite(table)
        if self.classification:
            yield from self._class_findings(splits)

    def _counts(self, rows: np.ndarray) -> Counter[str]:
        return Counter(name for row in rows.tolist() if (name := self.names[row]) is not None)

    def _not_finite(self, table: Table) -> Iterator[Finding]:
        bad = [row for row, cell in enumerate(self.cells) if is_nan(cell) or _infinite(cell)]
        if bad:
            yield Finding(
                "error",
                "target-not-finite",
                self.column,
                f"The target is NaN or infinite in {len(bad):,} rows, first in {table.where(bad[0])}.",
                "Leave the cell empty where a row has no target.",
            )

    def _class_findings(self, splits: Splits) -> Iterator[Finding]:
        train = self._counts(splits.train)
        if len(train) < 2:
            seen = f"only the class {next(iter(train))!r}" if train else "no target"
            yield Finding(
                "error", "one-class", self.column, f"The training rows have {seen}.", "Check the target and the split."
            )
            return
        for side, rows in (("validation", splits.validation), ("test", splits.test)):
            unseen = sorted(set(self._counts(rows)) - set(train))
            if unseen:
                yield Finding(
                    "error",
                    "unseen-class",
                    f"{self.column}, {side}",
                    f"{len(unseen)} classes of {side} are in no training row: {listed(unseen)}.",
                    "Correct the labels, leave the rows out, or split so that training has every class.",
                )
        few = [name for name in sorted(train) if train[name] < FEW_ROWS]
        if few and len(train) <= len(splits.train) / 3:
            yield Finding(
                "warning",
                "small-class",
                self.column,
                f"{len(few)} of {len(train)} classes have fewer than {FEW_ROWS} training rows: {listed(few)}.",
                "Merge them, or collect more rows.",
            )
        yield from self._spelling(set(train))
        yield from self._proportions(train)

    def _spelling(self, names: set[str]) -> Iterator[Finding]:
        variants: dict[str, list[str]] = {}
        for name in sorted(names):
            variants.setdefault(" ".join(name.casefold().split()), []).append(name)
        for group in variants.values():
            if len(group) > 1:
                yield Finding(
                    "warning",
                    "class-spelling",
                    self.column,
                    f"The classes {listed(group)} differ in case or white space only.",
                    "Write them in one way if they mean the same.",
                )

    def _proportions(self, train: Counter[str]) -> Iterator[Finding]:
        total = sum(train.values())
        name, most = train.most_common(1)[0]
        if most / total >= ONE_SIDED:
            yield Finding(
                "info",
                "one-sided",
                self.column,
                f"{share(most, total)} training rows have the class {name!r}: accuracy says little here.",
                "Look at macro F1 or AUROC; set `class_weights: balanced` for the task.",
            )
        if (len(train) > MANY_CLASSES and len(train) > total / 3) or _looks_continuous(list(train)):
            yield Finding(
                "warning",
                "many-classes",
                self.column,
                f"The target has {len(train):,} different values in {total:,} training rows; each becomes a class.",
                "Choose another target, or group its values.",
            )


def _infinite(cell: Cell) -> bool:
    return isinstance(cell, (float, np.floating)) and math.isinf(cell)


def _looks_continuous(names: Sequence[str]) -> bool:
    """Many different numbers, some of them fractions."""
    numbers = [as_number(name) for name in names]
    fractions = any(number is not None and not number.is_integer() for number in numbers)
    return fractions and None not in numbers and len(names) > MANY_CLASSES
