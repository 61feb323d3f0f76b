"""Whether the teacher predicts the target of a row.

A teacher's wrong answers need not be imitated: Meng, Li, Zhao, Gong, "Conditional Teacher-Student Learning", ICASSP
2019, arXiv:1904.12399.
"""

from __future__ import annotations

import torch
from torch import Tensor


def teacher_is_right(
    teacher_logits: Tensor,
    target: Tensor,
    labelled: Tensor | None = None,
    *,
    wrong: float = 0.0,
    unlabelled: float = 1.0,
) -> Tensor:
    """One where the teacher's first class is the target.

    Args:
        teacher_logits: (B, C).
        target: (B,) classes; may hold anything where a row is not labelled.
        labelled: bool (B,), which rows have a target; all when left out.
        wrong: what a row counts whose teacher is wrong.
        unlabelled: what a row without a target counts.

    Returns:
        (B,) of 1, `wrong` and `unlabelled`.
    """
    right = teacher_logits.argmax(dim=-1) == target
    counts = torch.where(right, 1.0, wrong)
    return counts if labelled is None else torch.where(labelled, counts, unlabelled)
