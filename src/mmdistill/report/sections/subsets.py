"""How models score when only some of their modalities are present."""

from __future__ import annotations

from mmdistill.report import numbers
from mmdistill.report.figures.palette import styles
from mmdistill.report.results import Model, Results
from mmdistill.report.spread import Spread, spread
from mmdistill.report.table import Cell, Column, Row, Table, arrow


def subset_scores(model: Model, metric: str) -> dict[str, Spread]:
    """Subset of modalities → the metric over seeds; the full set first, then larger before smaller."""
    names = dict.fromkeys(name for run in model.runs for name in run.modalities)
    found = {
        name: values
        for name in names
        if (values := spread(run.modalities.get(name, {}).get(metric) for run in model.runs)) is not None
    }
    return dict(sorted(found.items(), key=lambda item: -item[0].count("+")))


def models_with_subsets(results: Results) -> list[str]:
    """Models of several modalities that were scored on more than one subset."""
    return [name for name in results.ordered if len(subset_scores(results.models[name], results.primary_metric)) > 1]


def worst_subset(scores: dict[str, Spread], higher_is_better: bool) -> str:
    """The subset with the worst score."""
    return (min if higher_is_better else max)(scores, key=lambda name: scores[name].mean)


def subset_table(results: Results) -> Table | None:
    """Every subset of every model of several modalities, in the primary metric; None when there is no such model."""
    names = models_with_subsets(results)
    if not names:
        return None
    metric = results.primary_metric
    columns = [
        Column("Model", text=True),
        Column("Present", text=True),
        Column(results.metric_label(metric), arrow(results.higher_is_better)),
        Column("Against all present", "↑"),
    ]
    rows = [row for name in names for row in _rows(results, name, metric)]
    return Table("Scores by the modalities that are present", columns, rows)


def _rows(results: Results, name: str, metric: str) -> list[Row]:
    model = results.models[name]
    scores = subset_scores(model, metric)
    full = "+".join(model.columns)
    reference = scores.get(full) or next(iter(scores.values()))
    worst = worst_subset(scores, results.higher_is_better)
    sign = 1.0 if results.higher_is_better else -1.0
    rows = []
    for subset, values in scores.items():
        change = sign * (values.mean - reference.mean)
        around = "" if values.std is None else f"± {numbers.score(values.std)}"
        cells = [
            Cell(results.label(name)),
            Cell(subset.replace("+", " + "), note="worst" if subset == worst else ""),
            Cell(numbers.score(values.mean), values.mean, around),
            Cell("") if values is reference else Cell(numbers.signed(change), change),
        ]
        rows.append(Row(cells, styles(results)[name].colour))
    return rows


def subset_summary(results: Results) -> str:
    """A sentence on the worst subset of every model, or an empty text."""
    parts = []
    for name in models_with_subsets(results):
        scores = subset_scores(results.models[name], results.primary_metric)
        worst = worst_subset(scores, results.higher_is_better)
        parts.append(f"{results.label(name)}: {worst.replace('+', ' + ')}, {numbers.score(scores[worst].mean)}")
    return f"Worst case of each model: {'; '.join(parts)}." if parts else ""
