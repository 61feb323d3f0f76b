"""The history of a training: one line per reading of the losses and per look at the validation rows."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from mmdistill.files import disk_errors, write_text
from mmdistill.training.record import GRADIENT, Reading

FILE_NAME = "history.csv"
Row = dict[str, float | int | None]


class History:
    """Rows of numbers, mirrored in a CSV file that is whole after every line.

    The columns are ``epoch`` (a fraction: 1.0 when every training row has been seen once), ``step``, ``learning_rate``,
    each loss term (its mean since the row before), ``total``, ``gradient_norm`` of their sum,
    ``<term>/gradient_norm`` of each term alone (empty where it was not measured since the row before),
    ``probe/<column>``, the loss of each column's probe, which is no part of ``total`` or ``gradient_norm``,
    ``validation_score`` and ``<column>/validation_score`` of each probe (empty where nothing was validated),
    ``seconds`` of training so far, ``samples_per_second``.

    Args:
        path: the CSV file, or None to keep the rows in memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.rows: list[Row] = []

    def restore(self, rows: Sequence[Row]) -> None:
        """Take the rows of a checkpoint; what the file holds beyond them will be made again."""
        self.rows = [dict(row) for row in rows]
        if self._path is not None and self.rows:
            write_history(self._path, self.rows)
        elif self._path is not None:
            self._path.unlink(missing_ok=True)

    def append(self, row: Row) -> None:
        """Add a row; all rows have the same columns."""
        self.rows.append(row)
        if self._path is None:
            return
        if len(self.rows) == 1:
            write_text(self._path, _lines([list(row), _cells(row)]))
        else:
            with disk_errors(self._path), self._path.open("a", encoding="utf-8") as stream:
                stream.write(_lines([_cells(row)]))


def write_history(path: Path, rows: Sequence[Row]) -> None:
    """A history in one go; all rows have the same columns."""
    write_text(path, _lines([list(rows[0]), *map(_cells, rows)]))


def average(readings: Sequence[Reading]) -> dict[str, float | None]:
    """Mean of each term over the rows of the batches, and of the gradient norms over the steps that have them.

    The gradient of a single term is the whole gradient.

    The sums are exact, so that it does not matter in how many pieces the batches were read.
    """
    rows = sum(reading.rows for reading in readings)
    means: dict[str, float | None] = {
        name: math.fsum(reading.values[name] * reading.rows for reading in readings) / rows
        for name in readings[0].values
    }
    terms = [name for name in means if name != "total"]
    means[GRADIENT] = _mean(reading.gradient_norm for reading in readings)
    for term in terms:
        measured = _mean(reading.term_norms.get(term) for reading in readings)
        means[term_gradient(term)] = means[GRADIENT] if len(terms) == 1 else measured
    for name in readings[0].beside:
        means[name] = math.fsum(reading.beside[name] * reading.rows for reading in readings) / rows
    return means


def probe_loss(column: str) -> str:
    """The column of the loss of the probe of a column of the table."""
    return f"probe/{column}"


def probe_score(column: str) -> str:
    """The column of the validation score of that probe, in the metric and direction of ``validation_score``."""
    return f"{column}/validation_score"


def term_gradient(term: str) -> str:
    """The column of the norm of a term's gradient."""
    return f"{term}/{GRADIENT}"


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean of what is there and finite."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else None


def _cells(row: Row) -> list[str]:
    return [_cell(value) for value in row.values()]


def _cell(value: float | int | None) -> str:
    if value is None:
        return ""
    return format(value, ".9g") if isinstance(value, float) else str(value)


def _lines(cells: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(cells)
    return text.getvalue()
