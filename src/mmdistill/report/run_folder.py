"""A finished run folder, read for the report: results, history, recipe, environment and data."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmdistill.errors import InputError
from mmdistill.report.reading import read_results
from mmdistill.report.results import Results


@dataclass(frozen=True)
class History:
    """The training history of one seed.

    Args:
        columns: column → one number per line, NaN where the cell is empty.
    """

    columns: dict[str, list[float]]

    @property
    def epochs(self) -> list[float]:
        """Epoch of every line; 1.0 when every training row has been seen once."""
        return self.columns.get("epoch", [])

    def validation(self, metric: str) -> str:
        """The column of the score on the validation rows."""
        return "validation_score" if "validation_score" in self.columns else f"validation_{metric}"

    def terms(self) -> list[str]:
        """Names of the loss terms."""
        return [
            name
            for name in self.columns
            if name not in _NOT_A_TERM
            and not name.startswith(_NOT_A_TERMS_START)
            and not name.endswith(_NOT_A_TERMS_END)
        ]


def gradient_column(term: str) -> str:
    """The column of the norm of a term's gradient."""
    return f"{term}{_GRADIENT}"


def probe_column(column: str) -> str:
    """The column of the validation score of the probe of a column of the table."""
    return f"{column}{_PROBE}"


_GRADIENT, _PROBE = "/gradient_norm", "/validation_score"
_NOT_A_TERMS_START, _NOT_A_TERMS_END = ("validation_", "probe/"), (_GRADIENT, _PROBE)
_NOT_A_TERM = frozenset({"epoch", "step", "learning_rate", "gradient_norm", "seconds", "samples_per_second"})


@dataclass(frozen=True)
class RunFolder:
    """What the report reads.

    Args:
        path: the folder.
        results: `results.json`.
        histories: model → seed → history, for those that are there.
        recipe: text of `recipe.yaml`, empty when it is missing.
        environment: `environment.json`, empty when it is missing.
        data: `data.json`, empty when it is missing.
    """

    path: Path
    results: Results
    histories: dict[str, dict[int, History]] = field(default_factory=dict)
    recipe: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def recipe_content(self) -> dict[str, Any]:
        """`recipe.yaml` as plain values; empty when it is missing or damaged."""
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

        try:
            content = YAML(typ="safe", pure=True).load(self.recipe)
        except YAMLError:
            return {}
        return content if isinstance(content, dict) else {}


def read_run_folder(path: Path) -> RunFolder:
    """Read a finished run folder.

    Raises:
        InputError: when the folder does not exist, the run is not finished, or a file in it is damaged.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(
            "There is no such run folder",
            where=str(path),
            fix="Make one with `mmdistill run RECIPE`, or check the path",
        )
    if not (path / "results.json").is_file():
        raise InputError(_unfinished(path), where=str(path), fix=_how_to_finish(path))
    results = read_results(path / "results.json")
    return RunFolder(
        path=path,
        results=results,
        histories=_read_histories(path, results),
        recipe=_read_text(path / "recipe.yaml"),
        environment=_read_object(path / "environment.json"),
        data=_read_object(path / "data.json"),
    )


def _unfinished(path: Path) -> str:
    if not (path / "recipe.yaml").is_file():
        return "This is not a run folder: it holds neither recipe.yaml nor results.json"
    finished = sorted(model.parent.parent.name for model in path.glob("*/seed-*/model.safetensors"))
    if not finished:
        return "The run has not finished: results.json is missing, and no model has been trained yet"
    counts = ", ".join(f"{name} ({finished.count(name)})" for name in dict.fromkeys(finished))
    return f"The run has not finished: results.json is missing; models trained so far: {counts}"


def _how_to_finish(path: Path) -> str:
    if not (path / "recipe.yaml").is_file():
        return "Name the folder that `mmdistill run` made"
    return "Finish it with `mmdistill run` and the recipe that began it; finished parts are not repeated"


def _read_text(path: Path) -> str:
    if not path.is_file():
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The file cannot be read: {error}", where=str(path)) from error


def _read_object(path: Path) -> dict[str, Any]:
    text = _read_text(path)
    if not text:
        return {}
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"The file is not JSON ({error.msg})",
            where=f"{path}, line {error.lineno}",
            fix="Run the recipe again with `mmdistill run`; finished parts are not repeated",
        ) from error
    return content if isinstance(content, dict) else {}


def _read_histories(path: Path, results: Results) -> dict[str, dict[int, History]]:
    histories: dict[str, dict[int, History]] = {}
    for name, model in results.models.items():
        files = {run.seed: path / name / f"seed-{run.seed}" / "history.csv" for run in model.runs}
        found = {seed: read_history(file) for seed, file in files.items() if file.is_file()}
        if found:
            histories[name] = found
    return histories


def read_history(path: Path) -> History:
    """Read `history.csv`. An empty cell is NaN.

    Raises:
        InputError: naming the line and column of a cell that is not a number.
    """
    rows = list(csv.reader(_read_text(path).splitlines()))
    if not rows:
        return History({})
    header, *lines = rows
    columns: dict[str, list[float]] = {name: [] for name in header}
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise InputError(
                f"The line has {len(line)} cells, and the header {len(header)}",
                where=f"{path}, line {number}",
                fix="Delete the file to leave this curve out, or run the recipe again with --overwrite",
            )
        for name, cell in zip(header, line, strict=True):
            columns[name].append(_number(cell, f"{path}, line {number}, column {name!r}"))
    return History(columns)


def _number(cell: str, where: str) -> float:
    if not cell.strip():
        return math.nan
    try:
        return float(cell)
    except ValueError as error:
        raise InputError(
            f"{cell!r} is not a number",
            where=where,
            fix="Delete the file to leave this curve out, or run the recipe again with --overwrite",
        ) from error
