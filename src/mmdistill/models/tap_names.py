"""The names of a model's outputs."""

from __future__ import annotations

from collections.abc import Sequence

from mmdistill.errors import InputError


def logits_tap(task: str, tasks: Sequence[str]) -> str:
    """The tap of a task's logits: `logits`, or `<task>.logits` when the model has several tasks."""
    return "logits" if len(tasks) == 1 else f"{task}.logits"


def mask_tap(tap: str) -> str:
    """The tap that holds the mask of a tap of variable length."""
    return f"{tap}.mask"


def refuse_clashes(columns: Sequence[str], tasks: Sequence[str]) -> None:
    """Refuse columns whose taps could not be told from others.

    Raises:
        InputError: when a column is called like another tap.
    """
    taken = {"logits": "the logits", "fused": "the fused embedding"}
    taken |= {logits_tap(task, tasks): f"the logits of {task}" for task in tasks}
    for column in columns:
        for suffix in (".tokens", ".tokens.mask", ".maps"):
            taken[column + suffix] = f"the {suffix[1:]} of the column {column!r}"
    for column in columns:
        if column in taken:
            raise InputError(
                f"A column cannot be called {column!r}: models call {taken[column]} so",
                where=f"data.columns.{column}",
                fix=f"Rename it and keep `source: {column}`",
            )
