"""Sensitivity and specificity at the threshold that each model got on the validation rows."""

from __future__ import annotations

from mmdistill.report import numbers
from mmdistill.report.figures.palette import styles
from mmdistill.report.results import OperatingPoint, Results
from mmdistill.report.spread import spread
from mmdistill.report.table import Cell, Column, Row, Table

_RATES, _AREA = ("sensitivity", "specificity"), "auroc"


def operating_point_table(results: Results) -> Table | None:
    """A line for every model and task that has an operating point; None when there is none."""
    points = {
        (name, task): [run.operating_points[task] for run in model.runs if task in run.operating_points]
        for name, model in ((name, results.models[name]) for name in results.ordered)
        for task in dict.fromkeys(task for run in model.runs for task in run.operating_points)
    }
    if not points:
        return None
    several = len({task for _, task in points}) > 1
    columns = [Column("Model", text=True), *([Column("Task", text=True)] if several else [])]
    columns += [Column("Positive", text=True), Column("Threshold")]
    for rate in _RATES:
        columns += [Column(f"{rate.capitalize()}, validation"), Column(rate.capitalize(), "↑"), Column("95 % interval")]
    columns += [Column("AUROC", "↑"), Column("95 % interval")]
    rows = []
    for (name, task), found in points.items():
        cells = [Cell(results.label(name)), *([Cell(task)] if several else [])]
        cells += [Cell(str(found[0].positive)), _mean([point.threshold for point in found])]
        for rate in _RATES:
            cells += [
                _mean([point.validation.get(rate) for point in found]),
                _mean([point.test.get(rate) for point in found]),
                Cell(_widest(found, rate)),
            ]
        cells += [_mean([point.test.get(_AREA) for point in found]), Cell(_widest(found, _AREA))]
        rows.append(Row(cells, styles(results)[name].colour))
    return Table("At the operating point, means over seeds", columns, rows)


def operating_point_summary(results: Results) -> str:
    """How the thresholds came about, or an empty text."""
    if operating_point_table(results) is None:
        return ""
    return (
        "Each model's threshold was chosen on the validation rows with all that they have, never on test rows. The "
        "intervals are over draws of the test rows (of whole groups where the split has them): the lowest end of any "
        "seed to the highest."
    )


def _mean(values: list[float | None]) -> Cell:
    found = spread(values)
    if found is None:
        return Cell(numbers.score(None))
    return Cell(numbers.score(found.mean), found.mean, "" if found.std is None else f"± {numbers.score(found.std)}")


def _widest(points: list[OperatingPoint], rate: str) -> str:
    """The interval that holds those of all seeds."""
    ends = [ends for point in points if (ends := point.test_ci95.get(rate)) is not None]
    lows = [low for low, _ in ends if low is not None]
    highs = [high for _, high in ends if high is not None]
    return f"{numbers.score(min(lows))} to {numbers.score(max(highs))}" if lows and highs else "–"
