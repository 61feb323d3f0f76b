"""What is wrong with the data, before an hour is spent on it.

`audit` reads the table the way a run would, trains nothing and needs neither torch nor, for text tables, pandas or
pyarrow. It goes on after an error, so that one look shows all that has to be mended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from mmdistill.data.audit_view import render
from mmdistill.data.checks.duplicates import duplicate_facts, duplicate_findings, label_noise
from mmdistill.data.checks.findings import LEVELS, Audit, Finding, share
from mmdistill.data.checks.leaks import (
    determinations,
    group_hints,
    leak_findings,
    target_among_inputs,
    value_sources,
)
from mmdistill.data.checks.presence import Reader, presence_findings
from mmdistill.data.checks.rows import ColumnReading, Reading, read_rows, spread
from mmdistill.data.checks.targets import Target
from mmdistill.data.features import Feature, features_for
from mmdistill.data.row_numbers import numbered
from mmdistill.data.splits import Splits, split_rows
from mmdistill.data.table import Table
from mmdistill.errors import InputError
from mmdistill.recipe.schema import DataSpec, TaskSpec

__all__ = ["Audit", "Finding", "Reader", "audit", "render"]


def audit(
    table: Table,
    data: DataSpec,
    tasks: Mapping[str, TaskSpec],
    splits: Splits | None = None,
    *,
    models: Mapping[str, Reader] | None = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Look at a table with the eyes of a recipe.

    Args:
        table: the table that `data.table` names.
        data: the recipe's data.
        tasks: the recipe's tasks; targets that are not named are `data.target`.
        splits: how the rows are split; made from `data.split` when None, and a split that cannot be made is a finding.
        models: the recipe's models by name, for what depends on which columns they read.
        limit: read the cells of at most so many rows, spread evenly over the table; all when None.
        progress: called with (rows done, rows in all) while cells are read.

    Raises:
        InputError: when the table cannot be read, or a setting of a column is out of range.
    """
    findings: list[Finding] = []
    features = [feature for feature in features_for(data.columns) if _exists(table, feature, findings)]
    targets = list(_targets(table, data, tasks, findings))
    if splits is None:
        splits = _split(table, data, targets, findings)
    rows = np.arange(len(table)) if limit is None else spread(np.arange(len(table)), limit)
    facts: dict[str, Any] = {"splits": splits.to_json()}
    facts["targets"] = {target.task: target.facts(splits) for target in targets}
    for target in targets:
        findings += target.findings(table, splits)
    others = {role: name for role, name in (("split", data.split.column), ("group", data.split.group)) if name}
    findings += target_among_inputs(features, targets, others)
    facts["single_column_scores"] = {}
    for target in targets:
        sources = [name for name in value_sources(features) if name != target.column]
        scores = determinations(table, sources, target, splits.train)
        facts["single_column_scores"][target.task] = {name: round(found.score, 4) for name, found in scores.items()}
        findings += leak_findings(scores, target)
    if features:
        reading = read_rows(table, features, rows, np.intersect1d(rows, splits.train), progress)
        facts["columns"] = {name: _column_facts(column, reading, splits) for name, column in reading.columns.items()}
        findings += _reading_findings(table, data, reading, splits)
        findings += presence_findings(reading, splits, models or {})
        facts["duplicates"] = duplicate_facts(reading, splits)
        findings += duplicate_findings(reading, splits, facts["duplicates"], table.where)
        facts["label_noise"] = {}
        for target in targets:
            if target.classification:
                facts["label_noise"][target.task], noise = label_noise(reading, target, table.where)
                findings += noise
    if data.split.group is None:
        findings += group_hints(table, splits, {target.column for target in targets})
    findings.sort(key=lambda finding: LEVELS.index(finding.level))
    return Audit(table.source, len(table), len(rows), facts, findings)


def _exists(table: Table, feature: Feature, findings: list[Finding]) -> bool:
    missing = [name for name in feature.sources if name not in table.columns and not numbered(table, [name])]
    where = f"data.columns.{feature.column}"
    findings.extend(_of_error("unknown-column", where, _refusal(table, name)) for name in missing)
    return not missing


def _targets(table: Table, data: DataSpec, tasks: Mapping[str, TaskSpec], findings: list[Finding]) -> Iterator[Target]:
    for name, task in tasks.items():
        column = task.target or data.target
        if column is None:
            continue
        if column in table.columns:
            yield Target.read(table, name, column, task.type == "classification")
        else:
            findings.append(_of_error("unknown-column", f"tasks.{name}.target", _refusal(table, column)))


def _refusal(table: Table, column: str) -> InputError:
    try:
        table.require(column)
    except InputError as error:
        return error
    raise AssertionError(f"{column} exists")


def _of_error(code: str, where: str, error: InputError) -> Finding:
    what = f"{error.where}: {error.what}." if error.where and error.where != where else f"{error.what}."
    return Finding(
        "error", code, where, what, f"{error.fix}." if error.fix and error.fix[-1] not in ".?" else error.fix
    )


def _split(table: Table, data: DataSpec, targets: list[Target], findings: list[Finding]) -> Splits:
    """The recipe's split; every row trains when it cannot be made, so that the other checks go on."""
    labelled = np.logical_or.reduce([target.labelled for target in targets]) if targets else None
    try:
        return split_rows(table, data.split, labelled)
    except InputError as error:
        findings.append(_of_error("split", "data.split", error))
        nothing = np.array([], dtype=np.int64)
        unlabelled = 0 if labelled is None else int((~labelled).sum())
        return Splits(np.arange(len(table), dtype=np.int64), nothing, nothing, nothing, unlabelled)


def _column_facts(column: ColumnReading, reading: Reading, splits: Splits) -> dict[str, Any]:
    missing = {side: int(column.missing[np.isin(reading.rows, rows)].sum()) for side, rows in splits.items()}
    return {
        "type": column.feature.type,
        "sources": list(column.feature.sources),
        "missing": missing,
        "unreadable": column.unreadable,
        "ranges": column.ranges(),
    }


def _reading_findings(table: Table, data: DataSpec, reading: Reading, splits: Splits) -> Iterator[Finding]:
    for name, column in reading.columns.items():
        yield from _unreadable(table, name, column, len(reading.rows), data.on_error)
        yield from _missing(name, column, reading, splits)
        yield from _cut(name, column)
    for source, value in reading.constant.items():
        content = f"always {value!r}" if value else "always empty"
        yield Finding("warning", "constant", source, f"The column is {content}.", "Leave it out: it tells nothing.")
    empty = np.flatnonzero(reading.empty)
    if len(empty):
        yield Finding(
            "warning",
            "empty-rows",
            "data.columns",
            f"{share(len(empty), len(reading.rows))} rows have nothing in any column, first "
            f"{table.where(int(reading.rows[empty[0]]))}.",
            "Remove them: no model can tell them apart.",
        )


def _unreadable(table: Table, name: str, column: ColumnReading, checked: int, on_error: str) -> Iterator[Finding]:
    if not column.unreadable:
        return
    examples = "; ".join(f"{table.where(row)}: {error.what}" for row, error in column.examples)
    stops = on_error == "raise"
    hint = column.examples[0][1].fix
    hint = f"{hint} " if hint.endswith((".", "?")) else f"{hint}. " if hint else ""
    yield Finding(
        "error" if stops else "warning",
        "unreadable",
        name,
        f"{share(column.unreadable, checked)} cells cannot be read. {examples}.",
        f"{hint}Such rows can be left out with `on_error: skip`." if stops else f"{hint}These rows are left out.",
    )


def _missing(name: str, column: ColumnReading, reading: Reading, splits: Splits) -> Iterator[Finding]:
    for side, rows in splits.items():
        chosen = np.isin(reading.rows, rows)
        if chosen.any() and column.missing[chosen].all():
            yield Finding(
                "error" if side == "train" else "warning",
                "always-missing",
                f"{name}, {side}",
                f"The column {name!r} is empty in every row of {side}.",
                "Check the name of the source column, or leave the column out.",
            )


def _cut(name: str, column: ColumnReading) -> Iterator[Finding]:
    """Texts and sounds that the settings cut."""
    settings = column.feature.settings
    for measure, limit, key in (
        ("tokens", getattr(settings, "max_length", None), "max_length"),
        ("seconds", getattr(settings, "max_seconds", None), "max_seconds"),
    ):
        values = np.asarray(column.measures.get(measure, ()), dtype=np.float64)
        if limit is None or not len(values):
            continue
        cut = int((values >= limit).sum() if measure == "tokens" else (values > limit).sum())
        if cut > 0.01 * len(values):
            yield Finding(
                "info",
                "cut",
                name,
                f"{share(cut, len(values))} cells reach {key} = {limit:g} and are cut there.",
                f"Raise `{key}` if their ends matter.",
            )
