"""Similarity-preserving knowledge distillation.

Tung, Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019, arXiv:1907.09682, equations 1 to 4.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mmdistill.losses.families.relations import SPOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.relations import counted, mean_over_tuples, paired_rows
from mmdistill.losses.unit_vectors import unit_vectors


@without_autocast
def sp(
    student_features: Tensor,
    teacher_features: Tensor,
    weight: Tensor | None = None,
    *,
    norm: Literal["l2", "l1"] = "l2",
) -> Tensor:
    """‖G_student − G_teacher‖² / B², G the products of all pairs of rows, each of its rows divided by its length.

    What is compared is which rows of the batch are alike, so that the two sides may be of any width. Over several
    stages the paper sums; give each stage a term of its own. torchdistill passes 1 as the order of the norm and so
    divides by the sum of absolute values; norm="l1" gives that.

    Args:
        student_features: (B, D), or maps (B, C, H, W), which are flattened.
        teacher_features: (B, any width), or maps; receives no gradient.
        weight: (B,) weight of each row, not negative; a pair weighs the product.
        norm: what divides the rows of G.

    Returns:
        A scalar between 0 and 4 / B, and 0 where both sides have the same products of rows up to a factor.
        Typical weight: 3000 beside 1 of the supervised loss.

    Raises:
        InputError: when the shapes do not belong together.
    """
    student, teacher = paired_rows(student_features, teacher_features, weight)
    counts = counted(student, weight)[:, None]
    difference = _similarity(student * counts, norm) - _similarity(teacher * counts, norm)
    return mean_over_tuples(difference.square(), weight)


def _similarity(rows: Tensor, norm: str) -> Tensor:
    """Products of all pairs of rows (B, B), each row of it of length 1."""
    products = rows @ rows.T
    if norm == "l2":
        return unit_vectors(products)
    total = products.abs().sum(dim=-1, keepdim=True)
    return products / torch.where(total > 0, total, 1)


class SP(DistillationLoss):
    """`sp` as a module."""

    options_type = SPOptions
    norm: Literal["l2", "l1"]

    def forward(self, student_features: Tensor, teacher_features: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `sp`."""
        return sp(student_features, teacher_features, weight, norm=self.norm)
