"""How far a model's confidence can be trusted, and how far the student answers like its teacher."""

from __future__ import annotations

from mmdistill.report import numbers
from mmdistill.report.figures.palette import styles
from mmdistill.report.results import Model, Results
from mmdistill.report.spread import spread
from mmdistill.report.table import Cell, Column, Row, Table, score_cell

_LABELS = {
    "top1": ("Same answer", "↑"),
    "top1_teacher_right": ("Same answer, teacher right", "↑"),
    "top1_teacher_wrong": ("Same answer, teacher wrong", ""),
    "kl": ("KL divergence (nats)", "↓"),
    "spearman": ("Spearman", "↑"),
    "kendall": ("Kendall", "↑"),
}


def reliability(model: Model) -> list[tuple[float, float, int]]:
    """Confidence, accuracy and count per bin over all seeds, empty bins left out.

    Bins are joined by position when every seed has the same number of them, else each seed's bins stand alone.
    """
    per_seed = [run.calibration.bins for run in model.runs if run.calibration and run.calibration.bins]
    if len({len(bins) for bins in per_seed}) == 1:
        groups = [list(group) for group in zip(*per_seed, strict=True)]
    else:
        groups = [[each] for bins in per_seed for each in bins]
    points = []
    for group in groups:
        known = [
            (each.confidence, each.accuracy, each.count)
            for each in group
            if each.count > 0 and each.confidence is not None and each.accuracy is not None
        ]
        total = sum(count for _, _, count in known)
        if total:
            confidence = sum(confidence * count for confidence, _, count in known) / total
            points.append((confidence, sum(accuracy * count for _, accuracy, count in known) / total, total))
    return sorted(points)


def calibration_table(results: Results) -> Table | None:
    """Expected calibration error and fitted temperature of every model that has them."""
    rows = []
    for name in results.ordered:
        runs = [run.calibration for run in results.models[name].runs if run.calibration]
        error = spread(calibration.expected_calibration_error for calibration in runs)
        temperature = spread(calibration.temperature for calibration in runs)
        if error or temperature:
            cells = [Cell(results.label(name)), score_cell(error), score_cell(temperature)]
            rows.append(Row(cells, styles(results)[name].colour))
    if not rows:
        return None
    columns = [Column("Model", text=True), Column("Expected calibration error", "↓"), Column("Temperature")]
    notes = ["The temperature is fitted on the validation rows; above 1 means that the model is too confident."]
    return Table("Calibration", columns, rows, notes)


def agreement_table(results: Results) -> Table | None:
    """Agreement of every student with its teacher, one column a measure; None when none was taken."""
    names = [name for name in results.ordered if any(run.agreement for run in results.models[name].runs)]
    measures = list(
        dict.fromkeys(
            measure
            for name in names
            for run in results.models[name].runs
            for measure in run.agreement
            if not measure.endswith("rows")
        )
    )
    if not measures:
        return None
    columns = [Column("Model", text=True)]
    for measure in measures:
        title, direction = _LABELS.get(measure, (measure.replace("_", " ").capitalize(), ""))
        columns.append(Column(title, direction))
    rows = [
        Row(
            [
                Cell(results.label(name)),
                *[score_cell(spread(run.agreement.get(key) for run in results.models[name].runs)) for key in measures],
            ],
            styles(results)[name].colour,
        )
        for name in names
    ]
    return Table("Agreement with the teacher on the test rows", columns, rows)


def calibration_summary(results: Results) -> str:
    """A sentence on the student's calibration, or an empty text."""
    if results.student is None:
        return ""
    runs = [run.calibration for run in results.models[results.student].runs if run.calibration]
    error = spread(calibration.expected_calibration_error for calibration in runs)
    if error is None:
        return ""
    return f"On average the student's confidence is {numbers.score(error.mean)} away from its accuracy."
