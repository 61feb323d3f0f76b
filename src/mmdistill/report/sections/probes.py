"""What each column had learnt inside a model of several: the validation scores of its probe, and who is lazy."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from mmdistill.report import numbers
from mmdistill.report.figures.palette import styles
from mmdistill.report.results import Results
from mmdistill.report.run_folder import History, RunFolder, probe_column
from mmdistill.report.table import Cell, Column, Row, Table, arrow

LOST = 0.1
"""A column is lazy when its probe lacks more than this part of what the column tells alone above the majority."""
SLIGHT = 0.05
"""A column is lazy when its probe is ahead of the majority by less than this part of what is left to the best score."""
NAMED = 4
"""Lazy columns that get a sentence of their own."""


@dataclass(frozen=True)
class Probed:
    """What one column of one model could tell.

    Args:
        model: name of the model.
        column: of the model.
        score: best validation score of its probe, mean over the seeds.
        alone: the best of a model of that column alone, which learnt from targets only; None without one.
        alone_name: name of that model.
    """

    model: str
    column: str
    score: float
    alone: float | None = None
    alone_name: str = ""


def probed_models(run: RunFolder) -> dict[str, list[str]]:
    """Model → its columns that have probes with a score."""
    found = {}
    for name in run.results.ordered:
        histories = run.histories.get(name, {})
        columns = [
            column
            for column in run.results.models[name].columns
            if best_score(histories, probe_column(column), run.results.higher_is_better) is not None
        ]
        if columns:
            found[name] = columns
    return found


def best_score(histories: Mapping[int, History], column: str, higher_is_better: bool) -> float | None:
    """The best value of a column of the history, mean over the seeds; None where a seed has none."""
    best = []
    for history in histories.values():
        values = [value for value in history.columns.get(column, []) if math.isfinite(value)]
        if not values:
            return None
        best.append(max(values) if higher_is_better else min(values))
    return statistics.fmean(best) if best else None


def probed_columns(run: RunFolder) -> list[Probed]:
    """Every column of every model that has probes."""
    higher, found = run.results.higher_is_better, []
    for name, columns in probed_models(run).items():
        for column in columns:
            score = best_score(run.histories[name], probe_column(column), higher)
            assert score is not None
            alone = _alone(run, name, column)
            history = run.histories.get(alone, {})
            reached = best_score(history, "validation_score", higher) if alone else None
            found.append(Probed(name, column, score, reached, alone if reached is not None else ""))
    return found


def _alone(run: RunFolder, model: str, column: str) -> str:
    """The model of a column alone to compare with: its own `-only-` model, else any that learnt from targets only."""
    own = f"{model}-only-{column}"
    if own in run.results.models:
        return own
    for name, histories in run.histories.items():
        terms = {term for history in histories.values() for term in history.terms()} - {"total", "loss"}
        if run.results.models[name].columns == [column] and len(terms) == 1:
            return name
    return ""


def why_lazy(one: Probed, majority: float | None, higher_is_better: bool) -> str:
    """Why a column is called lazy; empty where it is not, or nothing tells."""
    sign = 1.0 if higher_is_better else -1.0
    if one.alone is not None:
        least = majority if majority is not None else 0.0 if higher_is_better else None
        # Without a score to start from, a part of what the column reaches alone.
        reach = sign * (one.alone - least) if least is not None else abs(one.alone)
        if reach > 0 and sign * (one.alone - one.score) > LOST * reach:
            return f"{numbers.score(one.alone)} when it is trained alone"
    if majority is not None and higher_is_better and one.score - majority < SLIGHT * max(1 - majority, 0):
        little = "hardly" if one.score > majority else "no"
        return f"{little} more than the {numbers.score(majority)} of always giving the commonest answer"
    return ""


def validation_majority(results: Results) -> float | None:
    """What always giving the commonest class of the training rows scores on the validation rows, as probes are scored.

    None where the score is not accuracy, or nothing was counted.
    """
    classes = results.data.classes if results.data else []
    counts = [(entry.get("train") or 0, entry.get("validation") or 0) for entry in classes]
    rows = sum(validation for _, validation in counts)
    if results.primary_metric != "accuracy" or not rows:
        return None
    return max(counts, key=lambda pair: pair[0])[1] / rows


def probe_summary(run: RunFolder) -> str:
    """A sentence for each of the first lazy columns and one for the others, or what can be said without one."""
    results = run.results
    majority = validation_majority(results)
    found, said = probed_columns(run), []
    for one in found:
        why = why_lazy(one, majority, results.higher_is_better)
        if why:
            said.append(
                f"In {results.label(one.model)} the column {one.column} is lazy: a linear probe on what its encoder "
                f"has learnt reaches {numbers.score(one.score)} on the validation rows, and the column {why}."
                if why.endswith("alone")
                else f"In {results.label(one.model)} the column {one.column} is lazy: a linear probe on what its "
                f"encoder has learnt reaches {numbers.score(one.score)} on the validation rows, {why}."
            )
    if said:
        more = len(said) - NAMED
        if more > 0:
            others = "another column is" if more == 1 else f"{more} other columns are"
            said = [*said[:NAMED], f"By the same measure {others} lazy too; see the table."]
        return " ".join([*said, "`modality_balance` lists what may help, or leave the column out."])
    if any(one.alone is not None for one in found):
        return "No column is lazy: each has learnt about as much beside the others as it does alone."
    return (
        "Each column tells more than the commonest answer does. Whether it tells as much as it would alone is not "
        "known: no model of a single column was trained."
        if majority is not None
        else "No model of a single column was trained to compare with."
    )


def probe_table(run: RunFolder) -> Table | None:
    """One row a column of a model with probes; None when there is none."""
    results = run.results
    found = probed_columns(run)
    if not found:
        return None
    direction = arrow(results.higher_is_better)
    rows = []
    for one in found:
        whole = best_score(run.histories[one.model], "validation_score", results.higher_is_better)
        rows.append(
            Row(
                [
                    Cell(results.label(one.model)),
                    Cell(one.column),
                    Cell(numbers.score(one.score), one.score),
                    Cell(numbers.score(one.alone), one.alone),
                    Cell(numbers.score(whole), whole),
                ],
                styles(results)[one.model].colour,
            )
        )
    columns = [
        Column("Model", text=True),
        Column("Column", text=True),
        Column("Its probe", direction),
        Column("Alone", direction),
        Column("The model", direction),
    ]
    metric = results.metric_label(results.primary_metric)
    notes = [
        f"{metric} on the validation rows, the best of all looks, mean over the seeds. A probe is a linear head on the "
        "column's embedding that learns beside the model and changes nothing of it; alone is a model of that column "
        "that learnt from the targets only."
    ]
    return Table("What each column could tell", columns, rows, notes)
