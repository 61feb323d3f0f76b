"""How far two sides rank the classes of a row in the same order: Kendall's tau.

Kendall, "The treatment of ties in ranking problems", Biometrika 33, 1945 (tau-b); counted by merging, as in Knight, "A
computer method for calculating Kendall's tau with ungrouped data", Journal of the American Statistical Association 61,
1966.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.losses.precision import widen
from mmdistill.losses.shapes import check_logits


@torch.no_grad()
def kendall_agreement(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Kendall's tau-b between the two rankings of each row's classes.

    Of all pairs of classes, those that both sides put in the same order minus those that they put in opposite orders,
    over the geometric mean of the numbers of pairs that each side tells apart. All rows are counted at once, in
    O(C log² C) time and O(C) memory a row.

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
    classes = student_logits.shape[-1]
    student, teacher = _ranks(student_logits), _ranks(teacher_logits)
    both = student * classes + teacher
    # By the student, and by the teacher where the student sees no difference: what is then out of order is opposed.
    opposed = _out_of_order(teacher.gather(-1, both.argsort(dim=-1)))
    pairs = classes * (classes - 1) // 2
    told_by_student, told_by_teacher = pairs - _tied_pairs(student), pairs - _tied_pairs(teacher)
    agreement = told_by_student + told_by_teacher - pairs + _tied_pairs(both) - 2 * opposed
    dtype = widen(student_logits).dtype
    told = told_by_student.to(dtype).sqrt() * told_by_teacher.to(dtype).sqrt()
    return (agreement / torch.where(told > 0, told, 1)).clamp(-1, 1)


def _ranks(values: Tensor) -> Tensor:
    """How many of the last dimension are smaller: int64, equal for equal values."""
    values = values.contiguous()
    return torch.searchsorted(values.sort(dim=-1).values, values)


def _tied_pairs(ranks: Tensor) -> Tensor:
    """Pairs of equal ranks: (…, C) to (…)."""
    ordered = ranks.sort(dim=-1).values
    earlier = torch.searchsorted(ordered, ordered)
    return (torch.arange(ranks.shape[-1], device=ranks.device) - earlier).sum(dim=-1)


def _out_of_order(ranks: Tensor) -> Tensor:
    """Pairs of which the first is the larger: (…, C) to (…).

    Neighbouring blocks are counted against each other and then merged into one that is in order, in blocks of 1, 2, 4…
    """
    count = ranks.shape[-1]
    levels = max(count - 1, 0).bit_length()
    # What fills up the last block is as large as can be, and so in order with everything.
    ranks = F.pad(ranks, (0, 2**levels - count), value=count)
    found = ranks.new_zeros(ranks.shape[:-1])
    for level in range(levels):
        blocks = ranks.unflatten(-1, (-1, 2, 2**level))
        left, right = (block.contiguous() for block in blocks.unbind(dim=-2))
        found += (2**level - torch.searchsorted(left, right, right=True)).sum(dim=(-2, -1))
        ranks = blocks.flatten(-2).sort(dim=-1).values.flatten(-2)
    return found
