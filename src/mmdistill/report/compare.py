"""Several runs side by side: the student's score, its gain with interval, and its size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.text import Text

from mmdistill.errors import InputError
from mmdistill.report import numbers
from mmdistill.report.results import Results
from mmdistill.report.run_folder import read_run_folder
from mmdistill.report.sections.comparison import retained
from mmdistill.report.sections.verdict import tone_of
from mmdistill.report.spread import spread
from mmdistill.report.table import Cell, Column, Row, Table, arrow, score_cell, without_empty_columns
from mmdistill.report.terminal import FittedTable


@dataclass(frozen=True)
class Comparison:
    """Runs that can be compared: the same task and the same primary metric. Printed by rich as a table."""

    folders: list[Path]
    runs: list[Results]

    def table(self) -> Table:
        """One row a student of a run; a run without students shows its teacher."""
        first = self.runs[0]
        columns = [
            Column("Run", text=True),
            Column("Model", text=True),
            Column(first.metric_label(first.primary_metric), arrow(first.higher_is_better)),
            Column("Gain", "↑"),
            Column("95 % interval"),
            Column("Parameters", "↓"),
            Column("Latency, 1 row (ms)", "↓"),
            Column("Retained", "↑"),
            Column("Seeds"),
        ]
        lines = self.to_json()["runs"]
        alike = len({folder.name for folder in self.folders}) < len(self.folders)
        rows = [_row(line, line["folder"] if alike else Path(line["folder"]).name) for line in lines]
        best = _best([line["score"] for line in lines], first.higher_is_better)
        if best is not None:
            cell = rows[best].cells[2]
            rows[best].cells[2] = Cell(cell.text, cell.value, cell.spread, note="best", tone=cell.tone)
        return without_empty_columns(Table("Runs side by side", columns, rows))

    def to_json(self) -> dict[str, Any]:
        """The same for machines: numbers at full precision, null where something is not known."""
        lines = [
            _line(folder, results, model)
            for folder, results in zip(self.folders, self.runs, strict=True)
            for model in _compared(results)
        ]
        first = self.runs[0]
        return {
            "task": first.task,
            "primary_metric": first.primary_metric,
            "higher_is_better": first.higher_is_better,
            "runs": lines,
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        note = Text("Scores are means over seeds on each run's own test rows.", style="dim")
        yield Group(FittedTable(self.table()), note)


def compare(run_folders: Sequence[Path]) -> Comparison:
    """Read several finished runs and set them side by side.

    Raises:
        InputError: when there is no folder, one is not finished, or the runs have other tasks or primary metrics.
    """
    if not run_folders:
        raise InputError("There is no run to compare", fix="Name one run folder or more")
    folders = [Path(folder) for folder in run_folders]
    runs = [read_run_folder(folder).results for folder in folders]
    for folder, results in zip(folders[1:], runs[1:], strict=True):
        _refuse_other(folders[0], runs[0], folder, results)
    return Comparison(folders, runs)


def _refuse_other(first_folder: Path, first: Results, folder: Path, results: Results) -> None:
    for what, expected, found in (
        ("task", first.task, results.task),
        ("primary metric", first.primary_metric, results.primary_metric),
        ("direction", first.higher_is_better, results.higher_is_better),
    ):
        if expected != found:
            raise InputError(
                f"The runs cannot be compared: the {what} is {found!r}, and that of {first_folder} is {expected!r}",
                where=str(folder),
                fix="Compare runs of the same task and primary metric",
            )


def _compared(results: Results) -> list[str]:
    students = [name for name in results.ordered if results.models[name].role == "student"]
    return students or results.ordered[:1]


def _line(folder: Path, results: Results, name: str) -> dict[str, Any]:
    model = results.models[name]
    score = spread(model.values(results.primary_metric))
    gain = next((gain for gain in results.all_gains if gain.student == name), None)
    return {
        "folder": str(folder),
        "run": results.name,
        "model": name,
        "label": results.label(name),
        "score": score.mean if score else None,
        "std": score.std if score else None,
        "seeds": [run.seed for run in model.runs],
        "gain": gain.mean if gain else None,
        "ci95": list(gain.interval) if gain and gain.interval else None,
        "verdict": tone_of(gain) if gain else None,
        "retained": retained(results, name),
        "parameters": model.parameters,
        "megabytes": model.megabytes,
        "latency_ms": dict(model.latency_ms),
    }


def _row(line: dict[str, Any], run: str) -> Row:
    ends = line["ci95"]
    latency = line["latency_ms"].get("batch_1")
    around = "" if line["std"] is None else f"± {numbers.score(line['std'])}"
    cells = [
        Cell(run),
        Cell(line["label"]),
        score_cell(None) if line["score"] is None else Cell(numbers.score(line["score"]), line["score"], around),
        Cell(numbers.signed(line["gain"]), line["gain"], tone=line["verdict"] or ""),
        Cell(numbers.interval((ends[0], ends[1]) if ends else None)),
        Cell(numbers.compact(line["parameters"]), line["parameters"]),
        Cell(numbers.significant(latency), latency),
        Cell(numbers.percent(line["retained"]), line["retained"]),
        Cell(str(len(line["seeds"])), len(line["seeds"])),
    ]
    return Row(cells)


def _best(scores: list[float | None], higher_is_better: bool) -> int | None:
    known = {index: score for index, score in enumerate(scores) if score is not None}
    if len(known) < 2:
        return None
    return (max if higher_is_better else min)(known, key=lambda index: known[index])
