"""Every model beside every other: scores, what was retained, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mmdistill.report import numbers
from mmdistill.report.figures.palette import styles
from mmdistill.report.results import Model, Results
from mmdistill.report.spread import Spread, spread
from mmdistill.report.table import Cell, Column, Row, Table, arrow, score_cell, without_empty_columns


def comparison_table(results: Results, brief: bool = False) -> Table:
    """The primary metric and the cost of every model, and the majority-class line.

    Args:
        results: the run.
        brief: leave out what a narrow place has no room for.
    """
    metric = results.primary_metric
    measures = [measure for measure in _measures(results) if measure.brief or not brief]
    columns = [Column("Model", text=True), *[measure.column for measure in measures]]
    rows = [
        Row([Cell(results.label(name)), *[measure.cell(name) for measure in measures]], styles(results)[name].colour)
        for name in results.ordered
    ]
    if metric in results.majority:
        value = results.majority[metric]
        always = [Cell(numbers.score(value), value) if measure.is_score else Cell("") for measure in measures]
        rows.append(Row([Cell("Always the most frequent class"), *always], quiet=True))
    return without_empty_columns(Table("Score and cost of every model", columns, rows, _notes(results)))


@dataclass(frozen=True)
class _Measure:
    """One column of the comparison: its heading, and its cell for a model's name."""

    column: Column
    cell: Callable[[str], Cell]
    brief: bool = True
    is_score: bool = False


def _measures(results: Results) -> list[_Measure]:
    models, metric = results.models, results.primary_metric

    def number(title: str, read: Callable[[Model], float | None], write: _Writer, brief: bool = True) -> _Measure:
        return _Measure(Column(title, "↓"), lambda name: _number(read(models[name]), write), brief)

    return [
        _Measure(Column("Reads", text=True), lambda name: Cell(" + ".join(models[name].columns)), brief=False),
        _Measure(
            Column(results.metric_label(metric), arrow(results.higher_is_better)),
            lambda name: score_cell(spread(models[name].values(metric))),
            is_score=True,
        ),
        _Measure(Column("Retained", "↑"), lambda name: _number(retained(results, name), numbers.percent)),
        number("Parameters", lambda model: model.parameters, numbers.compact),
        number("MB", lambda model: model.megabytes, numbers.significant),
        number("Multiply-adds", lambda model: model.multiply_adds, numbers.compact, brief=False),
        number("Latency, 1 row (ms)", lambda model: model.latency_ms.get("batch_1"), numbers.significant),
        number(
            "Latency, 64 rows (ms)", lambda model: model.latency_ms.get("batch_64"), numbers.significant, brief=False
        ),
        number("Training time", _train_seconds, numbers.duration),
    ]


def _train_seconds(model: Model) -> float | None:
    seconds = spread(run.train_seconds for run in model.runs)
    return seconds.mean if seconds else None


_Writer = Callable[[float | None], str]


def _number(value: float | None, write: _Writer) -> Cell:
    return Cell(write(value), value)


def retained(results: Results, name: str) -> float | None:
    """Score of a student or baseline over the teacher's; None where the run says that a ratio means nothing."""
    if results.teacher is None or results.retained is None or results.models[name].role == "teacher":
        return None
    if name == results.student:
        return results.retained
    own = spread(results.models[name].values(results.primary_metric))
    teacher = spread(results.models[results.teacher].values(results.primary_metric))
    return own.mean / teacher.mean if own and teacher and teacher.mean > 0 else None


def _notes(results: Results) -> list[str]:
    notes = []
    counts = sorted({len(model.runs) for model in results.models.values()})
    if max(counts) > 1:
        notes.append("Scores are means over seeds ± sample standard deviation, on the test rows.")
    if counts[0] == 1:
        single = [results.label(name) for name in results.ordered if len(results.models[name].runs) == 1]
        everyone = len(single) == len(results.models)
        notes.append("Every model has one seed." if everyone else f"One seed: {', '.join(single)}.")
    chosen = sorted({model.selection for model in results.models.values() if model.selection})
    if chosen:
        notes.append(f"Weights kept: {', '.join(chosen)}. Training time is the mean of one seed.")
    if any(retained(results, name) is not None for name in results.models):
        notes.append("Retained is the score as a share of the teacher's.")
    return notes


def metrics_table(results: Results) -> Table | None:
    """All metrics of all models, or None when there is only the primary one."""
    metrics = [
        metric for metric in results.metric_names if any(model.values(metric) for model in results.models.values())
    ]
    if len(metrics) < 2:
        return None
    columns = [
        Column("Metric", text=True),
        *[Column(results.label(name)) for name in results.ordered],
    ]
    rows = [_metric_row(results, metric) for metric in metrics]
    if any(metric in results.majority for metric in metrics):
        columns.append(Column("Most frequent class"))
        for row, metric in zip(rows, metrics, strict=True):
            value = results.majority.get(metric)
            row.cells.append(Cell(numbers.score(value), value))
    return Table("All metrics on the test rows", columns, rows)


def _metric_row(results: Results, metric: str) -> Row:
    spreads = [spread(results.models[name].values(metric)) for name in results.ordered]
    higher = results.higher(metric)
    best = _best(spreads, higher)
    cells = [
        Cell(cell.text, cell.value, cell.spread, note="best" if index == best else "")
        for index, cell in enumerate(score_cell(values) for values in spreads)
    ]
    return Row([Cell(f"{results.metric_label(metric)} {arrow(higher)}".strip()), *cells])


def _best(spreads: list[Spread | None], higher: bool | None) -> int | None:
    known = {index: values.mean for index, values in enumerate(spreads) if values is not None}
    if higher is None or len(known) < 2:
        return None
    return (max if higher else min)(known, key=lambda index: known[index])


def cost_table(results: Results) -> Table:
    """What every model costs to train and to run."""
    columns = [
        Column("Model", text=True),
        Column("Parameters", "↓"),
        Column("MB", "↓"),
        Column("Multiply-adds", "↓"),
        Column("Latency, 1 row (ms)", "↓"),
        Column("Latency, 64 rows (ms)", "↓"),
        Column("Peak memory (MB)", "↓"),
        Column("Training time", "↓"),
        Column("Epochs"),
        Column("Steps"),
        Column("Best epoch"),
        Column("Weights kept", text=True),
    ]
    rows = [_cost_row(results, name) for name in results.ordered]
    return without_empty_columns(Table("Cost to run and to train", columns, rows))


def _cost_row(results: Results, name: str) -> Row:
    model = results.models[name]
    train = spread(run.train_seconds for run in model.runs)
    cells = [
        Cell(results.label(name)),
        _number(model.parameters, numbers.count),
        _number(model.megabytes, numbers.significant),
        _number(model.multiply_adds, numbers.count),
        _number(model.latency_ms.get("batch_1"), numbers.significant),
        _number(model.latency_ms.get("batch_64"), numbers.significant),
        _number(model.peak_memory_megabytes, numbers.significant),
        Cell(numbers.duration(train.mean), train.mean, _around_duration(train)) if train else Cell(numbers.MISSING),
        _mean_count(model, "epochs"),
        _mean_count(model, "steps"),
        _mean_count(model, "best_epoch"),
        Cell(model.selection),
    ]
    return Row(cells, styles(results)[name].colour)


def _around_duration(train: Spread) -> str:
    return "" if train.std is None else f"± {numbers.significant(train.std)} s"


def _mean_count(model: Model, attribute: str) -> Cell:
    values = spread(getattr(run, attribute) for run in model.runs)
    if values is None:
        return Cell(numbers.MISSING)
    whole = values.mean == round(values.mean)
    return Cell(numbers.count(values.mean) if whole else f"{values.mean:.1f}", values.mean)


def seconds_table(results: Results) -> Table | None:
    """Wall time of every stage, or None when the run did not note it."""
    if not results.seconds:
        return None
    longest = max(results.seconds.values()) or 1.0
    rows = [
        Row([Cell(stage.replace("_", " ").capitalize()), Cell(numbers.duration(value), value, bar=value / longest)])
        for stage, value in results.seconds.items()
    ]
    return Table("Wall time of the stages", [Column("Stage", text=True), Column("Time")], rows)
