"""Columns that give the target away, and groups that a split tears apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mmdistill.data.checks.determination import (
    Determination,
    as_category,
    as_number,
    class_determination,
    number_determination,
)
from mmdistill.data.checks.findings import Finding, listed
from mmdistill.data.checks.rows import spread
from mmdistill.data.checks.targets import Target
from mmdistill.data.features import Feature
from mmdistill.data.splits import Splits, group_leaks
from mmdistill.data.table import Table

SAMPLE_ROWS = 20_000
CERTAIN, NEAR, STRONG = 0.99, 0.9, 0.6  # skill: share of the way from chance to perfect
PROOF_ROWS = 10  # rows told right beyond chance before anything is said
GROUP_WORDS = re.compile(
    r"(^|_)(patient|subject|speaker|voice|user|author|participant|person|session|video|recording|group|site|customer|writer)"
    r"(s|_?id|_?name)?$",
    re.IGNORECASE,
)


def value_sources(features: Sequence[Feature]) -> list[str]:
    """The source columns whose cells are values (tabular and text), not files."""
    return list(
        dict.fromkeys(name for feature in features if feature.type in ("tabular", "text") for name in feature.sources)
    )


def determinations(table: Table, sources: Sequence[str], target: Target, train: np.ndarray) -> dict[str, Determination]:
    """How well each source column alone tells the target, over at most `SAMPLE_ROWS` labelled training rows."""
    rows = train[target.labelled[train]]
    rows = spread(rows, SAMPLE_ROWS)
    if len(rows) < 2 * PROOF_ROWS or not sources:
        return {}
    columns: dict[str, list[Any]] = {name: [] for name in sources}
    for _, cells in table.cells(sources, rows):
        for name, cell in cells.items():
            columns[name].append(cell)
    if target.classification:
        classes = [target.names[row] or "" for row in rows.tolist()]
        return {name: class_determination(cells, classes) for name, cells in columns.items()}
    numbers = [as_number(target.cells[row]) for row in rows.tolist()]
    if None in numbers:
        return {}
    return {name: number_determination(cells, numbers) for name, cells in columns.items()}  # type: ignore[arg-type]


def leak_findings(scores: dict[str, Determination], target: Target) -> Iterator[Finding]:
    """What `determinations` means."""
    measure = "accuracy" if target.classification else "R²"
    for name, found in scores.items():
        if found.gained_rows < PROOF_ROWS or found.skill < STRONG:
            continue
        beside = f" ({found.chance:.2f} by always giving the same answer)" if target.classification else ""
        message = (
            f"{name!r} alone predicts {target.column!r} with {measure} {found.score:.3f}{beside} on held-out rows."
        )
        if found.skill >= CERTAIN:
            fix = "It gives the target away: leave it out of the columns, unless it is truly known before the target."
            yield Finding("error", "target-leak", name, message, fix)
        elif found.skill >= NEAR:
            fix = "Make sure that it is known before the target, or leave it out."
            yield Finding("warning", "near-leak", name, message, fix)
        else:
            yield Finding("info", "strong-column", name, message)


def target_among_inputs(
    features: Sequence[Feature], targets: Sequence[Target], others: dict[str, str]
) -> Iterator[Finding]:
    """Target, split and group columns that a model reads."""
    sources = {name for feature in features for name in feature.sources}
    for target in targets:
        if target.column in sources:
            yield Finding(
                "error",
                "target-as-input",
                target.column,
                "The target is among the columns that models read.",
                "Remove it.",
            )
    for role, name in others.items():
        if name in sources:
            yield Finding(
                "warning",
                "split-as-input",
                name,
                f"The {role} column is among the columns that models read.",
                "Remove it.",
            )


def group_hints(table: Table, splits: Splits, taken: set[str]) -> Iterator[Finding]:
    """Columns named like groups (patient, speaker) whose values are on more than one side."""
    for name in table.columns:
        if name in taken or not GROUP_WORDS.search(name):
            continue
        values = [as_category(cell) for cell in table.column(name)]
        present = [value or f"\0{row}" for row, value in enumerate(values)]
        distinct = len(set(present))
        leaking = group_leaks(present, dict(splits.items()))
        if leaking and 1 < distinct < 0.9 * len(present):
            yield Finding(
                "info",
                "possible-group",
                name,
                f"{len(leaking):,} of {distinct:,} values of {name!r} are on more than one side of the split: "
                f"{listed(leaking, 3)}.",
                f"If the model must work for new ones, split with `group: {name}`.",
            )
