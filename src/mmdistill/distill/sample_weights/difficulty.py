"""How hard a row is, as the focal loss has it.

Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", ICCV 2017, arXiv:1708.02002, equation 4.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mmdistill.losses.precision import widen


def difficulty(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor | None = None,
    labelled: Tensor | None = None,
    *,
    measure: Literal["student", "teacher_margin"] = "student",
    gamma: float = 2.0,
) -> Tensor:
    """(1 - p)^gamma, with p the student's probability of the target, or how far the teacher's first two are apart.

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        target: (B,) classes; the teacher's first class stands in where there is none.
        labelled: bool (B,), which rows have a target; all when left out.
        measure: what p is.
        gamma: from 0 on; 0 makes all rows equal.

    Returns:
        (B,) from 0 to 1.
    """
    if measure == "teacher_margin":
        highest = widen(teacher_logits).softmax(dim=-1).topk(min(2, teacher_logits.shape[-1]), dim=-1).values
        ease = highest[:, 0] - highest[:, 1] if highest.shape[1] > 1 else highest[:, 0]
    else:
        classes = teacher_logits.argmax(dim=-1)
        if target is not None:
            classes = target if labelled is None else torch.where(labelled, target, classes)
        ease = widen(student_logits).softmax(dim=-1).gather(1, classes.unsqueeze(1)).squeeze(1)
    return (1 - ease).clamp(0, 1).pow(gamma)
