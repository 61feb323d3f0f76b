"""What the numbers say, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def verdict(gain: Mapping[str, Any], subject: str = "Distillation") -> str:
    """Whether distillation helped, in one plain sentence that claims nothing beyond the interval.

    Args:
        gain: what `task_gain` gives.
        subject: what is on trial, as the sentence begins.

    Returns:
        "Distillation helped: …" when the whole interval is above zero, "Distillation hurt: …" when it is below, "No
        clear difference …" when zero lies in it, and a sentence that says so when the metric is not defined.
    """
    student, baseline, metric = gain["student"], gain["baseline"], gain["metric"].replace("_", " ")
    if gain["mean"] is None or gain["ci95"] is None:
        asked = subject[0].lower() + subject[1:]
        return f"Whether {asked} helped cannot be told: the {metric} is not defined on these test rows."
    low, high = gain["ci95"]
    interval = f"95 % interval {_signed(low)} to {_signed(high)}, {_extent(gain)}"
    if low > 0:
        sentence = f"{subject} helped: {student} is better than {baseline} by {_size(gain['mean'])} in {metric}"
    elif high < 0:
        sentence = f"{subject} hurt: {student} is worse than {baseline} by {_size(gain['mean'])} in {metric}"
    else:
        sentence = (
            f"No clear difference between {student} and {baseline} in {metric}: the gain is {_signed(gain['mean'])}"
        )
        interval += "; it includes 0"
    note = " One seed: how much another seed would change is not in the interval." if gain["seeds"] == 1 else ""
    return f"{sentence} ({interval}).{note}"


def retained(student: float | None, teacher: float | None, higher_is_better: bool) -> float | None:
    """Student score / teacher score, or None where a ratio means nothing: errors, and teachers at zero or below."""
    if student is None or teacher is None or not higher_is_better or teacher <= 0:
        return None
    return student / teacher


def _extent(gain: Mapping[str, Any]) -> str:
    seeds, rows = gain["seeds"], gain["rows"]
    return f"{seeds} {'seed' if seeds == 1 else 'seeds'}, {rows} test {'row' if rows == 1 else 'rows'}"


def _size(value: float) -> str:
    """The size of a number with three decimals, or two significant digits when it is smaller than that."""
    size = abs(value)
    return f"{size:.3f}" if size >= 0.001 or size == 0 else f"{size:.2g}"


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+' if value > 0 else ''}{_size(value)}"
