"""A first recipe for a table: what each column seems to hold, a teacher on all of it, a student on the cheapest part.

Everything that is guessed or left out is said in a comment beside it, so that a person can disagree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmdistill import catalog
from mmdistill.data.checks.determination import (
    Determination,
    as_category,
    as_number,
    class_determination,
    number_determination,
)
from mmdistill.data.checks.findings import listed
from mmdistill.data.checks.leaks import GROUP_WORDS, NEAR, PROOF_ROWS
from mmdistill.data.column_settings import settings_of
from mmdistill.data.profile import ColumnProfile, classes_of, profile_columns
from mmdistill.data.recipe_text import Proposal, ProposedColumn, comment, scalar, write_recipe
from mmdistill.data.splits import split_rows
from mmdistill.data.table import Table
from mmdistill.errors import InputError
from mmdistill.recipe.checks import RESERVED_COLUMNS
from mmdistill.recipe.schema import SplitSpec

TARGET_NAMES = (
    "label",
    "target",
    "class",
    "category",
    "y",
    "labels",
    "classes",
    "outcome",
    "answer",
    "diagnosis",
    "intent",
)
MANY_CLASSES = 200
INFORMATIVE = 0.2  # skill of its best single column from which a tabular column is worth a student
COST_ORDER = ("tabular", "vector", "text", "audio", "image")


@dataclass
class _Look:
    """What is known while a recipe is put together."""

    table: Table
    profiles: dict[str, ColumnProfile]
    target: str
    left_out: dict[str, str] = field(default_factory=dict)
    scores: dict[str, Determination] = field(default_factory=dict)


def propose(table: Table, target: str | None = None) -> str:
    """Write a recipe for a table that runs as it is.

    Args:
        table: the table.
        target: column to predict; guessed by name, then by place, when None.

    Returns:
        YAML text with comments.

    Raises:
        InputError: when the target does not exist, cannot be guessed or cannot be learned, or when no column is left
            that a model could read.
    """
    profiles = profile_columns(table)
    if target is None:
        target, reason = _guess_target(table, profiles)
    else:
        table.require(target)
        reason = "as asked for"
    look = _Look(table, profiles, target)
    task, classes = _task(look)
    split, spec = _split(look)
    unseen = unseen_classes(table, target, spec) if task == "classification" else []
    warning = f"{len(unseen)} classes have no training row: {listed(unseen)}. Correct or drop them" if unseen else ""
    columns = list(_columns(look, task))
    if not columns:
        raise InputError(
            "No column is left that a model could read",
            where=table.source,
            fix="; ".join(f"{name!r} {why}" for name, why in look.left_out.items()),
        )
    student, student_reason = _student_column(columns, look)
    return write_recipe(
        Proposal(
            name=re.sub(r"[^A-Za-z0-9._-]+", "-", _stem(table)).strip("-._") or "run",
            table=table.name,
            target=target,
            target_reason=reason,
            task=task,
            classes=classes,
            warning=warning,
            split=split,
            columns=columns,
            student=student,
            student_reason=student_reason,
            left_out=look.left_out,
            rows=len(table),
        )
    )


def _stem(table: Table) -> str:
    name = Path(table.name.removeprefix("hf://").partition(":")[0]).name
    return re.sub(r"(\.(csv|tsv|tab|jsonl|ndjson|parquet|arrow|feather|ipc))?(\.gz)?$", "", name, flags=re.IGNORECASE)


def _guess_target(table: Table, profiles: dict[str, ColumnProfile]) -> tuple[str, str]:
    """The target and why it is thought to be: by its exact name, by its ending, or the last that can be one."""
    names = [name for name, profile in profiles.items() if _is_learnable(profile)]
    exact = [name for word in TARGET_NAMES for name in names if name.lower() == word]
    ending = [name for name in names if any(name.lower().endswith(f"_{word}") for word in TARGET_NAMES)]
    for name in dict.fromkeys([*exact, *ending, *reversed(names)]):
        _, spec = _split(_Look(table, profiles, name))
        if not unseen_classes(table, name, spec):
            by_name = name in exact or name in ending
            return name, "guessed from its name" if by_name else "guessed: the last column with few different values"
    raise InputError(
        "No column looks like a target", where=table.source, fix=f"Name it with --target: {', '.join(table.columns)}"
    )


def unseen_classes(table: Table, target: str, spec: SplitSpec) -> list[str]:
    """Classes of validation or test that no training row has, with which a classifier cannot be scored."""
    names = [as_category(cell) for cell in table.column(target)]
    splits = split_rows(table, spec, np.array([name is not None for name in names]))
    seen = {names[row] for row in splits.train.tolist()}
    scored = {names[row] for row in [*splits.validation.tolist(), *splits.test.tolist()]}
    return sorted(name for name in scored - seen if name is not None)


def _is_learnable(profile: ColumnProfile) -> bool:
    """Whether a column can be a class target: few values, each of which repeats."""
    if profile.kind not in ("category", "number", "text") or not 2 <= profile.distinct <= MANY_CLASSES:
        return False
    fractions = any(
        (number := as_number(cell)) is not None and not number.is_integer()
        for cell in profile.cells
        if cell is not None
    )
    return not fractions and profile.distinct <= max(2, profile.filled // 2)


def _task(look: _Look) -> tuple[str, int]:
    """Name of the task and number of classes (0 for a regression)."""
    profile = look.profiles[look.target]
    if _is_learnable(profile) or (profile.kind == "identifier" and 2 <= profile.distinct <= profile.filled // 2):
        return "classification", len(classes_of(profile))
    if profile.kind in ("number", "identifier") and "regression" in catalog.names("task"):
        return "regression", 0
    what = (
        "has only one value" if profile.distinct < 2 else f"has {profile.distinct:,} values in {profile.filled:,} rows"
    )
    raise InputError(
        f"The column {look.target!r} {what}, which cannot be learned as classes",
        where=look.table.source,
        fix="Choose another --target, or add a column that groups its values",
    )


def _split(look: _Look) -> tuple[list[str], SplitSpec]:
    """`data.split` as lines and as a value; split and group columns are taken out of the inputs."""
    table, profiles = look.table, look.profiles
    found = [name for name, profile in profiles.items() if profile.kind == "split"]
    look.left_out |= dict.fromkeys(found, "says the split")
    spec, lines = SplitSpec(), ["validation: 0.1", "test: 0.1"]
    for name in found:
        try:
            split_rows(
                table, SplitSpec(column=name), np.array([cell is not None for cell in table.column(look.target)])
            )
        except InputError as error:
            lines.append(f"# the column {comment(name)} cannot be used: {comment(error.what)}")
        else:
            spec, lines = SplitSpec(column=name), [f"column: {scalar(name)}"]
            break
    for name, profile in profiles.items():
        if GROUP_WORDS.search(name) and name != look.target and 1 < profile.distinct < 0.9 * profile.filled:
            look.left_out.setdefault(name, "looks like a group (see split), which a model should not rely on")
            lines.append(f"# group: {scalar(name)}  # keeps its rows on one side, to be scored on new values of it")
    return lines, spec


def _columns(look: _Look, task: str) -> Iterator[ProposedColumn]:
    """The columns of the recipe, in the order of the table, tabular ones together at the end."""
    numeric: list[str] = []
    categorical: list[str] = []
    for name, profile in look.profiles.items():
        if name == look.target or name in look.left_out:
            continue
        reason = _reason_against(profile)
        if reason:
            look.left_out[name] = reason
            continue
        if profile.kind in ("text", "category", "number") and _leaks(look, name, task):
            continue
        if profile.kind == "number":
            numeric.append(name)
        elif profile.kind == "category":
            categorical.append(name)
        else:
            settings = settings_of(look.table, profile)
            if settings is None:
                look.left_out[name] = "names files that are neither beside the table nor in a folder or zip file there"
            else:
                yield ProposedColumn(_key(name), profile.kind, name, settings, profile.missing)
    if numeric or categorical:
        settings = {key: names for key, names in (("numeric", numeric), ("categorical", categorical)) if names}
        key = "tabular" if "tabular" not in look.profiles else "tabular_columns"
        missing = any(look.profiles[name].missing for name in numeric + categorical)
        yield ProposedColumn(key, "tabular", None, settings, missing)


def _key(name: str) -> str:
    """The column's name as a recipe, a file and a module can carry it."""
    key = re.sub(r"\W+", "_", name).strip("_") or "column"
    return f"{key}_column" if key in RESERVED_COLUMNS else key


def _reason_against(profile: ColumnProfile) -> str:
    """Why no model should read a column, whatever the target is; empty when it may."""
    if profile.kind == "identifier":
        unique = profile.distinct > 0.9 * profile.filled
        return "looks like an identifier: " + ("hardly a value occurs twice" if unique else "by its name")
    if profile.kind == "mixed":
        odd = next(cell for cell in profile.cells if cell is not None and as_number(cell) is None)
        return f"holds numbers, but also {odd!r}, which is none"
    reasons = {
        "constant": "has the same value in every row",
        "empty": "is empty",
        "other": "holds something that no column type reads",
    }
    return reasons.get(profile.kind, "")


def _leaks(look: _Look, name: str, task: str) -> bool:
    """Whether a column gives the target away; its score is kept."""
    target = look.profiles[look.target].cells
    pairs = [(cell, goal) for cell, goal in zip(look.profiles[name].cells, target, strict=True) if goal is not None]
    cells = [cell for cell, _ in pairs]
    if len(pairs) < 2 * PROOF_ROWS:
        return False
    if task == "classification":
        found = class_determination(cells, [str(goal) for _, goal in pairs])
    else:
        found = number_determination(cells, [as_number(goal) or 0.0 for _, goal in pairs])
    look.scores[name] = found
    if found.skill < NEAR or found.gained_rows < PROOF_ROWS:
        return False
    look.left_out[name] = f"gives the target away: alone it predicts {look.target!r} with a score of {found.score:.3f}"
    return True


def _student_column(columns: list[ProposedColumn], look: _Look) -> tuple[ProposedColumn, str]:
    """The cheapest column that tells something about the target, and why."""
    if len(columns) == 1:
        return columns[0], "the same column with a smaller encoder, as there is no other"
    ranked = sorted(columns, key=lambda column: COST_ORDER.index(column.type))
    for column in ranked:
        if column.type != "tabular":
            return column, f"{column.type} is the cheapest input to read here that is likely to tell the target"
        sources = [*column.settings.get("numeric", ()), *column.settings.get("categorical", ())]
        best = max(sources, key=lambda name: look.scores[name].skill if name in look.scores else -np.inf)
        if best in look.scores and look.scores[best].skill >= INFORMATIVE:
            score = look.scores[best]
            beside = f"alone scores {score.score:.2f} against {score.chance:.2f} by chance"
            return column, f"cheapest to read, and {best!r} {beside}"
    return ranked[0], "the only kind of column there is"
