"""Finished models applied to rows: scores on test rows or on another table, and predictions."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmdistill import catalog
from mmdistill.data.table import Table, read_table
from mmdistill.errors import InputError, nearest
from mmdistill.files import written_aside
from mmdistill.models.any_model import AnyModel
from mmdistill.models.saving import load_model
from mmdistill.models.tap_names import logits_tap
from mmdistill.recipe import Recipe
from mmdistill.run.dataset import load_dataset
from mmdistill.run.folder import RunFolder
from mmdistill.run.other_tables import absence_notes, applied, prepared_for, refusal
from mmdistill.tasks.task import Task

Array = np.ndarray[Any, Any]


def evaluate_run(folder: RunFolder, table: str | None = None) -> dict[str, Any]:
    """Score every finished model of a run.

    Args:
        folder: of the run.
        table: another table with targets, every labelled row of which is scored; the run's test rows when None.

    Returns:
        ``{"table", "rows", "primary_metric", "models": {name: {"role", "runs": [{"seed", "metrics"}]}}, "notes"}``;
        notes tell of columns that the table lacks, which count as absent in every row, and of models that are left out
        because the table has nothing that they read, or lacks a column that they cannot do without.

    Raises:
        InputError: when no model is finished, the table lacks what a task reads or a part of a column, or every model
            would be left out.
    """
    recipe = Recipe.load(folder.recipe)
    trained = _trained(folder)
    opened = read_table(
        table or recipe.data.table, None if table else recipe.data.format, None if table else recipe.data.limit
    )
    rows = None if table else load_dataset(recipe).splits.test
    primary = ""
    scores: dict[str, Any] = {}
    notes: dict[str, None] = {}
    scored = 0
    refused: InputError | None = None
    for name, seeds in trained.items():
        runs = []
        for seed in seeds:
            model, card = load_model(folder.seed(name, seed))
            cannot = refusal(opened, model)
            if cannot is not None:
                refused = refused or cannot
                notes[f"{name!r} is left out. {cannot}"] = None
                break
            metrics, scored = _score(opened, model, card, rows, recipe.data.on_error)
            notes |= dict.fromkeys(absence_notes(opened, model, name))
            primary = primary or _restored(next(iter(card["tasks"].values()))).primary
            runs.append({"seed": seed, "metrics": metrics})
        if runs:
            scores[name] = {"role": card["role"], "runs": runs}
    if refused is not None and not scores:
        raise refused
    return {
        "table": opened.source,
        "rows": scored,
        "primary_metric": primary,
        "models": scores,
        "notes": list(notes),
    }


def _trained(folder: RunFolder) -> dict[str, list[int]]:
    """Finished models of a run folder and their seeds."""
    found: dict[str, list[int]] = {}
    for path in sorted(folder.path.glob("*/seed-*/model.json")):
        found.setdefault(path.parent.parent.name, []).append(int(path.parent.name.removeprefix("seed-")))
    if not found:
        raise InputError("No model of this run is finished", where=str(folder.path), fix="Run its recipe again")
    return {name: sorted(seeds) for name, seeds in found.items()}


def _score(
    table: Table,
    model: AnyModel,
    card: Mapping[str, Any],
    rows: Array | None,
    on_error: Literal["raise", "skip"],
) -> tuple[dict[str, Any], int]:
    """Metrics of a model on some rows of a table, or on every row that has a target."""
    targets = {name: _targets(table, name, task) for name, task in card["tasks"].items()}
    labelled = np.logical_or.reduce([known for _, known, _ in targets.values()])
    chosen = np.flatnonzero(labelled) if rows is None else rows
    if not len(chosen):
        raise InputError("No row of the table has a target", where=table.source, fix="Use `mmdistill predict` instead")
    prepared = prepared_for(model, table, on_error)
    chosen = np.intersect1d(chosen, prepared.usable.numpy())
    if not len(chosen):
        raise InputError("No row that has a target could be read", where=table.source)
    taps = {name: logits_tap(name, model.tasks) for name in targets}
    outputs = applied(model, prepared, chosen, list(taps.values()))
    metrics: dict[str, Any] = {}
    for name, (values, _, task) in targets.items():
        found = task.metrics(outputs[taps[name]], values[chosen], card["tasks"][name]["state"])
        metrics |= {f"{name}/{key}" if len(targets) > 1 else key: value for key, value in found.items()}
    return {key: value for key, value in metrics.items() if "majority_" not in key}, len(chosen)


def _restored(described: Mapping[str, Any]) -> Task:
    """The task that a model's card describes."""
    entry = catalog.get("task", described["type"])
    task: Task = entry.load()(entry.options.model_validate(described["options"]))
    task.restore(described["state"])
    return task


def _targets(table: Table, name: str, described: Mapping[str, Any]) -> tuple[Array, Array, Task]:
    task = _restored(described)
    table.require(described["target"], where=f"the target of the task {name!r}")
    values, labelled = task.encode(table.column(described["target"]), described["state"], table.where)
    return values, labelled, task


def scores_table(scores: Mapping[str, Any]) -> Any:
    """Scores for the terminal: a line a model, mean over seeds."""
    from rich.table import Table as RichTable

    metrics = list(next(iter(scores["models"].values()))["runs"][0]["metrics"])
    table = RichTable(
        box=None, pad_edge=False, header_style="bold", title=f"{scores['rows']} rows of {scores['table']}"
    )
    table.add_column("model")
    for metric in metrics:
        table.add_column(metric.replace("_", " "), justify="right")
    for name, model in scores["models"].items():
        cells = []
        for metric in metrics:
            values = [run["metrics"][metric] for run in model["runs"]]
            defined = [value for value in values if value is not None]
            cells.append(f"{sum(defined) / len(defined):.4f}" if defined else "–")
        table.add_row(f"{name} ({len(model['runs'])})", *cells)
    return table


def predict_table(
    folder: RunFolder, table: str, output: Path, model: str | None = None, seed: int | None = None
) -> dict[str, Any]:
    """Predict every row of a table with one finished model and write a CSV or Parquet file.

    Args:
        folder: of the run.
        table: holds columns that the model reads; others are not needed. One that it lacks counts as absent in every
            row.
        output: ends in .csv or .parquet: row, prediction, and the probability of each class.
        model: which model of the run; its first student when None.
        seed: which of its seeds; the one with the best validation score when None.

    Returns:
        ``{"model", "seed", "rows", "output", "notes"}``; notes tell of columns that the table lacks.

    Raises:
        InputError: for an unknown model, seed or ending, or a table without any column that the model reads, or without
            one that it cannot do without.
    """
    if output.suffix not in {".csv", ".parquet"}:
        raise InputError(f"Predictions are written as .csv or .parquet, not {output.suffix!r}", where=str(output))
    trained = _trained(folder)
    recipe = Recipe.load(folder.recipe)
    model = model or next(iter((*recipe.students, *recipe.teachers)))
    if model not in trained:
        raise InputError(
            f"The run has no finished model {model!r}", where=str(folder.path), fix=nearest(model, list(trained))
        )
    chosen = _best_seed(folder, model, trained[model]) if seed is None else seed
    if chosen not in trained[model]:
        raise InputError(
            f"{model!r} was not trained with seed {seed}", where=str(folder.path), fix=f"Seeds: {trained[model]}"
        )
    loaded, card = load_model(folder.seed(model, chosen))
    opened = read_table(table)
    columns = _decoded(opened, loaded, card)
    _write_columns(output, columns)
    notes = absence_notes(opened, loaded, model)
    return {"model": model, "seed": chosen, "rows": len(opened), "output": str(output), "notes": notes}


def _best_seed(folder: RunFolder, model: str, seeds: list[int]) -> int:
    """The seed with the best validation score, as its card tells; the first when there was no validation."""
    cards = {
        seed: json.loads((folder.seed(model, seed) / "model.json").read_text(encoding="utf-8"))["card"]
        for seed in seeds
    }
    best = {seed: card["training"]["best_score"] for seed, card in cards.items()}
    if any(score is None for score in best.values()):
        return seeds[0]
    task = _restored(next(iter(cards[seeds[0]]["tasks"].values())))
    sign = 1 if task.directions[task.primary] else -1
    return max(seeds, key=lambda seed: sign * best[seed])


def _decoded(table: Table, model: AnyModel, card: Mapping[str, Any]) -> dict[str, Array]:
    """`row`, and what each task's decoder makes of the outputs, as columns."""
    prepared = prepared_for(model, table)
    rows = np.arange(len(table))
    taps = {name: logits_tap(name, model.tasks) for name in card["tasks"]}
    outputs = applied(model, prepared, rows, list(taps.values()))
    columns: dict[str, Array] = {"row": rows}
    for name, described in card["tasks"].items():
        decode = catalog.load(_restored(described).decoder)
        decoded = decode({"logits": outputs[taps[name]].float().numpy()}, described["state"])
        several = len(card["tasks"]) > 1
        columns |= {f"{name}.{key}" if several else key: np.asarray(value) for key, value in decoded.items()}
    return columns


def _write_columns(output: Path, columns: Mapping[str, Array]) -> None:
    with written_aside(output) as aside:
        if output.suffix == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.table({name: pa.array(values.tolist()) for name, values in columns.items()}), aside)
            return
        with aside.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(columns)
            writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))
