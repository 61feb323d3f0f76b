"""The names of a model's outputs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmdistill import catalog
from mmdistill.errors import InputError

_NUMBERED = re.compile(r"(?P<column>.+)\.(?P<kind>stages|layers)\.\d+(\.mask)?")


def logits_tap(task: str, tasks: Sequence[str]) -> str:
    """The tap of a task's logits: `logits`, or `<task>.logits` when the model has several tasks."""
    return "logits" if len(tasks) == 1 else f"{task}.logits"


def mask_tap(tap: str) -> str:
    """The tap that holds the mask of a tap of variable length."""
    return f"{tap}.mask"


SEEN = "seen"
"""The output that says which columns of each row the model was shown in a training step, bool (B, M) in the order of
its columns; only under modality dropout or a balance that hides columns."""
AUXILIARY = "auxiliary."
"""Begins the names of the scalars that a model itself wants to be small; only while it is trained."""


def auxiliary_tap(name: str) -> str:
    """The output that holds a loss of the model's own."""
    return f"{AUXILIARY}{name}"


def numbered_tap(column: str, kind: str, number: int) -> str:
    """The tap of one of several things of a column, counted from 0, shallow to deep: ``<column>.stages.2``.

    Args:
        column: whose it is.
        kind: ``stages`` or ``layers``.
        number: which of them.
    """
    return f"{column}.{kind}.{number}"


def column_parts() -> frozenset[str]:
    """What fusions and strategies for missing columns add to a column's name for taps of it: ``.shared``…"""
    return frozenset(tap.removeprefix("<column>") for tap in _declared() if tap.startswith("<column>."))


def fusion_taps() -> frozenset[str]:
    """The taps that fusions and strategies for missing columns add for all columns together: ``gates``…"""
    return frozenset(tap for tap in _declared() if not tap.startswith("<column>."))


def _declared() -> list[str]:
    entries = [*catalog.entries("fusion"), *catalog.entries("missing strategy")]
    return [tap for entry in entries for tap in getattr(entry, "taps", ())]


def refuse_clashes(columns: Sequence[str], tasks: Sequence[str]) -> None:
    """Refuse columns whose taps could not be told from others.

    Raises:
        InputError: when a column is called like another tap.
    """
    taken = {"logits": "the logits", "fused": "the fused embedding", SEEN: "what they were shown"}
    taken |= {tap: f"an output of some fusions ({tap})" for tap in fusion_taps()}
    taken |= {logits_tap(task, tasks): f"the logits of {task}" for task in tasks}
    parts = column_parts()
    for column in columns:
        for suffix in (".tokens", ".tokens.mask", ".maps", *parts):
            taken[column + suffix] = f"the {suffix[1:]} of the column {column!r}"
    for column in columns:
        numbered = _NUMBERED.fullmatch(column)
        if numbered and numbered["column"] in columns:
            taken[column] = f"one of the {numbered['kind']} of the column {numbered['column']!r}"
        if column in taken:
            raise InputError(
                f"A column cannot be called {column!r}: models call {taken[column]} so",
                where=f"data.columns.{column}",
                fix=f"Rename it and keep `source: {column}`",
            )
