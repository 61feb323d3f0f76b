"""How alike student and teacher rank the classes of a row."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from mmdistill.losses.precision import widen
from mmdistill.losses.rank_agreement import kendall_agreement


def rank_agreement(
    student_logits: Tensor, teacher_logits: Tensor, *, favour: Literal["agreement", "disagreement"] = "agreement"
) -> Tensor:
    """Kendall's tau between the logits of both sides, moved from [-1, 1] to [0, 1].

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        favour: which rows count more: those that both rank alike, or those that they do not.

    Returns:
        (B,) from 0 to 1.
    """
    agreement = (1 + kendall_agreement(widen(student_logits), widen(teacher_logits))) / 2
    return agreement if favour == "agreement" else 1 - agreement
