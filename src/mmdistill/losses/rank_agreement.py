"""How far two sides rank the classes of a row in the same order: Kendall's tau.

Kendall, "The treatment of ties in ranking problems", Biometrika 33, 1945 (tau-b).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmdistill.losses.precision import widen
from mmdistill.losses.shapes import check_logits

_PAIRS_AT_ONCE = 2**24
"""Pairs of classes that are compared in one step; bounds the memory at some 64 MB a side."""


@torch.no_grad()
def kendall_agreement(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Kendall's tau-b between the two rankings of each row's classes.

    Of all pairs of classes, those that both sides put in the same order minus those that they put in opposite orders,
    over the geometric mean of the numbers of pairs that each side tells apart. All pairs are compared at once, in parts
    where there are very many classes; nothing is sorted.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences.
        teacher_logits: the same shape.

    Returns:
        (B,) or (B, L), from -1 (opposite orders) to 1 (the same order), without gradient; 0 where a side tells no two
        classes apart, as with a single class.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    student, teacher = widen(student_logits), widen(teacher_logits)
    classes = student.shape[-1]
    same_order = student.new_zeros(student.shape[:-1])
    student_pairs, teacher_pairs = torch.zeros_like(same_order), torch.zeros_like(same_order)
    step = max(1, _PAIRS_AT_ONCE // max(student.numel(), 1))
    for start in range(0, classes, step):
        student_order, teacher_order = _order(student, start, step), _order(teacher, start, step)
        same_order += (student_order * teacher_order).sum(dim=(-2, -1))
        student_pairs += student_order.abs().sum(dim=(-2, -1))
        teacher_pairs += teacher_order.abs().sum(dim=(-2, -1))
    pairs = student_pairs.sqrt() * teacher_pairs.sqrt()
    return (same_order / torch.where(pairs > 0, pairs, 1)).clamp(-1, 1)


def _order(logits: Tensor, start: int, count: int) -> Tensor:
    """1, -1 or 0 as each of some classes is above, below or level with every class: (…, C) to (…, count, C)."""
    return (logits[..., start : start + count, None] - logits[..., None, :]).sign()
