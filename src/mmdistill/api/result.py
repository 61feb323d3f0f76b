"""What `mmdistill.distill` gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn


@dataclass(frozen=True)
class DistillResult:
    """A distilled student and what can be claimed for it.

    Args:
        student: the module that was handed over, trained, in eval mode.
        baseline: its control, trained without the teacher; None when it was not asked for.
        scores: rows (`validation`, `test`) → model (`student`, `baseline`, `teacher`) → score.
        gain: of the student over its baseline on the test rows, or on the validation rows where there are none: `mean`,
            `ci95`, `p_value`, `rows_of` and more; None without a baseline or rows to score.
        verdict: what the gain says, in a sentence.
        history: losses and validation scores of the student's training, a row a reading.
        baseline_history: the same of the baseline.
        steps: optimiser steps of each of them.
        seconds: that the student's training took.
    """

    student: nn.Module = field(repr=False)
    baseline: nn.Module | None = field(repr=False)
    scores: dict[str, dict[str, float]]
    gain: dict[str, Any] | None = field(repr=False)
    verdict: str
    history: list[dict[str, float | int | None]] = field(repr=False)
    baseline_history: list[dict[str, float | int | None]] = field(repr=False)
    steps: int
    seconds: float

    def __str__(self) -> str:
        lines = [
            f"{rows}: " + ", ".join(f"{name} {score:.4f}" for name, score in each.items())
            for rows, each in self.scores.items()
        ]
        return "\n".join([*lines, self.verdict])
