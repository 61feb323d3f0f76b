"""How models score when only some of their modalities are present."""

from __future__ import annotations

from mmdistill.report import numbers
from mmdistill.report.figures.palette import styles
from mmdistill.report.results import Model, Results
from mmdistill.report.spread import Spread, spread
from mmdistill.report.table import Cell, Column, Row, Table, arrow

NEVER_SEEN = (
    "Never seen: no training row had just these modalities, and none was hidden from the model so that it would; its "
    "score there is a guess of a model that was not made for it. `modality_dropout` shows it such rows."
)


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
    """Every metric of every subset of every model of several modalities; None when there is no such model."""
    names = models_with_subsets(results)
    if not names:
        return None
    primary = results.primary_metric
    others = [metric for metric in results.metric_names if metric != primary]
    columns = [
        Column("Model", text=True),
        Column("Present", text=True),
        Column(results.metric_label(primary), arrow(results.higher_is_better)),
        Column("Against all present", "↑"),
        *(Column(results.metric_label(metric), arrow(results.higher(metric))) for metric in others),
    ]
    rows = [row for name in names for row in _rows(results, name, others)]
    notes = [NEVER_SEEN] if any(run.never_seen for name in names for run in results.models[name].runs) else []
    return Table("Scores by the modalities that are present", columns, rows, notes)


def _rows(results: Results, name: str, others: list[str]) -> list[Row]:
    model = results.models[name]
    scores = subset_scores(model, results.primary_metric)
    full = "+".join(model.columns)
    reference = scores.get(full) or next(iter(scores.values()))
    worst = worst_subset(scores, results.higher_is_better)
    sign = 1.0 if results.higher_is_better else -1.0
    never_seen = {subset for run in model.runs for subset in run.never_seen}
    rows = []
    for subset, values in scores.items():
        change = sign * (values.mean - reference.mean)
        notes = [note for note, holds in (("worst", subset == worst), ("never seen", subset in never_seen)) if holds]
        cells = [
            Cell(results.label(name)),
            Cell(subset.replace("+", " + "), note=", ".join(notes)),
            _spread_cell(values),
            Cell("") if values is reference else Cell(numbers.signed(change), change),
            *(_spread_cell(subset_scores(model, metric).get(subset)) for metric in others),
        ]
        rows.append(Row(cells, styles(results)[name].colour))
    return rows


def _spread_cell(values: Spread | None) -> Cell:
    if values is None:
        return Cell(numbers.MISSING)
    return Cell(numbers.score(values.mean), values.mean, "" if values.std is None else f"± {numbers.score(values.std)}")


def drop_table(results: Results) -> Table | None:
    """What the absence of each modality costs each model, in the primary metric; None when no model has several."""
    models = {name: costs for name in results.ordered if (costs := _costs(results, name))}
    if not models:
        return None
    modalities = list(dict.fromkeys(column for costs in models.values() for column in costs))
    columns = [Column("Model", text=True), *(Column(f"Without {column}", "↓") for column in modalities)]
    rows = [
        Row(
            [Cell(results.label(name)), *(_cost_cell(costs.get(column)) for column in modalities)],
            styles(results)[name].colour,
        )
        for name, costs in models.items()
    ]
    metric = results.metric_label(results.primary_metric)
    return Table(f"{metric} lost when one modality is missing from every row", columns, rows)


def _costs(results: Results, name: str) -> dict[str, Spread]:
    """Column → what its absence costs, over the seeds."""
    runs = results.models[name].runs
    columns = dict.fromkeys(column for run in runs for column in run.drops)
    found = {
        column: spread(run.drops.get(column, {}).get(results.primary_metric) for run in runs) for column in columns
    }
    return {column: cost for column, cost in found.items() if cost is not None}


def _cost_cell(cost: Spread | None) -> Cell:
    if cost is None:
        return Cell(numbers.MISSING)
    return Cell(numbers.signed(cost.mean), cost.mean, "" if cost.std is None else f"± {numbers.score(cost.std)}")


def subset_summary(results: Results) -> str:
    """A sentence on the worst subset of every model, or an empty text."""
    parts = []
    for name in models_with_subsets(results):
        scores = subset_scores(results.models[name], results.primary_metric)
        worst = worst_subset(scores, results.higher_is_better)
        parts.append(f"{results.label(name)}: {worst.replace('+', ' + ')}, {numbers.score(scores[worst].mean)}")
    return f"Worst case of each model: {'; '.join(parts)}." if parts else ""
