"""What a model gets right and wrong, class by class, over all its seeds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmdistill.report import numbers
from mmdistill.report.foremost import key_models
from mmdistill.report.results import ClassScore, Model, Results
from mmdistill.report.spread import spread
from mmdistill.report.table import Cell, Column, Row, Table


def confusion(model: Model) -> tuple[list[str], NDArray[np.float64]] | None:
    """Classes and the row-normalised confusion of all seeds together.

    Returns:
        Names of the K classes, and an array (K, K) whose row i says how the rows of class i were predicted, each row
        summing to one (or to zero when the class has no row); None when no seed has a square matrix.
    """
    with_matrix = [run.details for run in model.runs if run.details and run.details.confusion]
    if not with_matrix:
        return None
    classes = [str(name) for name in with_matrix[0].classes]
    total = np.zeros((len(classes), len(classes)))
    for details in with_matrix:
        if any(len(row) != len(classes) for row in details.confusion) or len(details.confusion) != len(classes):
            return None
        total += np.asarray(details.confusion, dtype=np.float64)
    sums = total.sum(axis=1, keepdims=True)
    return classes, np.divide(total, sums, out=np.zeros_like(total), where=sums > 0)


def class_scores(model: Model) -> dict[str, dict[str, float]]:
    """Class → score name → mean over seeds, in the order of the classes."""
    collected: dict[str, list[ClassScore]] = {}
    for run in model.runs:
        for entry in run.details.per_class if run.details else []:
            collected.setdefault(str(entry.name), []).append(entry)
    table: dict[str, dict[str, float]] = {}
    for name, entries in collected.items():
        means = {
            key: spread(getattr(entry, key) for entry in entries) for key in ("precision", "recall", "f1", "support")
        }
        table[name] = {key: value.mean for key, value in means.items() if value is not None}
    return table


def class_table(results: Results) -> Table | None:
    """F1 and recall per class for teacher, student and baseline, and student minus baseline."""
    scores = {name: table for name in key_models(results) if (table := class_scores(results.models[name]))}
    if not scores:
        return None
    classes = list(dict.fromkeys(name for table in scores.values() for name in table))
    student, baseline = scores.get(results.student or ""), scores.get(results.baseline or "")
    columns = [Column("Class", text=True), Column("Test rows")]
    columns += [Column(f"F1, {results.models[name].role}", "↑") for name in scores]
    columns += [Column(f"Recall, {results.models[name].role}", "↑") for name in scores]
    compared = student is not None and baseline is not None
    if compared:
        columns.append(Column("F1, student − baseline", "↑"))
    rows = [_row(name, scores, student if compared else None, baseline if compared else None) for name in classes]
    if compared:
        _add_bars(rows)
    return Table("Scores per class, means over seeds", columns, rows)


def _row(
    name: str,
    scores: dict[str, dict[str, dict[str, float]]],
    student: dict[str, dict[str, float]] | None,
    baseline: dict[str, dict[str, float]] | None,
) -> Row:
    support = next((table[name]["support"] for table in scores.values() if "support" in table.get(name, {})), None)
    cells = [Cell(name), Cell(numbers.count(support), support)]
    for key in ("f1", "recall"):
        for table in scores.values():
            value = table.get(name, {}).get(key)
            cells.append(Cell(numbers.score(value), value))
    if student is not None and baseline is not None:
        ours, theirs = student.get(name, {}).get("f1"), baseline.get(name, {}).get("f1")
        difference = None if ours is None or theirs is None else ours - theirs
        tone = "" if not difference else "good" if difference > 0 else "bad"
        cells.append(Cell(numbers.signed(difference), difference, tone=tone))
    return Row(cells)


def _add_bars(rows: list[Row]) -> None:
    """Give the last cell of every row a bar relative to the largest difference."""
    largest = max((abs(row.cells[-1].value or 0.0) for row in rows), default=0.0)
    if not largest:
        return
    for row in rows:
        last = row.cells[-1]
        if last.value is not None:
            row.cells[-1] = Cell(last.text, last.value, tone=last.tone, bar=last.value / largest)
