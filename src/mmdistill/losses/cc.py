"""Correlation congruence.

Peng, Jin, Liu, Li, Wu, Liu, Zhou, Zhang, "Correlation Congruence for Knowledge Distillation", ICCV 2019,
arXiv:1904.01802, equations 6 to 10.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.losses.families.relations import CCOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.relations import counted, mean_over_tuples, paired_rows
from mmdistill.losses.row_shares import row_shares
from mmdistill.losses.unit_vectors import unit_vectors


@without_autocast
def cc(
    student_features: Tensor,
    teacher_features: Tensor,
    weight: Tensor | None = None,
    *,
    form: Literal["kernel", "consecutive"] = "kernel",
    kernel: Literal["gaussian", "bilinear"] = "gaussian",
    gamma: float = 0.4,
    order: int = 2,
    normalize: bool = True,
    reduction: Literal["mean_square", "norm"] = "mean_square",
) -> Tensor:
    """‖K_student − K_teacher‖² / B², K the correlations of all pairs of rows by a kernel.

    The Gaussian kernel exp(−γ‖x − y‖²) of unit vectors is exp(−2γ) · exp(2γ x·y), whose second factor is cut off
    after `order` terms of its series (equation 10).

    Three forms are in use under this name. The paper's is the default (and KD-Zoo's). torchdistill takes rows as they
    are and divides the norm, not its square, by B²: normalize=False, reduction="norm". RepDistiller restructures code
    of the authors that correlates the *differences* of neighbours in the batch, mean over i of |d_i| · |d_{i+1}| with
    d = student − teacher: form="consecutive", which depends on the order of the rows, takes sides of equal width and
    reads no other option.

    Args:
        student_features: (B, D), or maps (B, C, H, W), which are flattened.
        teacher_features: (B, any width), or maps; receives no gradient.
        weight: (B,) weight of each row, not negative; a pair weighs the product.
        form: kernel: correlations of all pairs; consecutive: differences of neighbours.
        kernel: gaussian, or bilinear: products of rows.
        gamma: γ of the Gaussian kernel, above 0.
        order: terms of its series beyond the constant, at least 1.
        normalize: whether rows are divided by their length first, as the series presumes; without it rows of a
            length far from 1 make its powers large.
        reduction: of the difference of the kernels: mean_square, or norm: the norm over B².

    Returns:
        A scalar, at least 0, and 0 where both sides have the same correlations. Typical weight: 0.02 with the
        consecutive form; 100 with the kernel form.

    Raises:
        InputError: when the shapes do not belong together.
    """
    student, teacher = paired_rows(student_features, teacher_features, weight)
    if form == "consecutive":
        return _consecutive(student, teacher, weight)
    if normalize:
        student, teacher = unit_vectors(student), unit_vectors(teacher)
    difference = _correlations(student, kernel, gamma, order) - _correlations(teacher, kernel, gamma, order)
    if reduction == "mean_square":
        return mean_over_tuples(difference.square(), weight)
    return _norm_over_pairs(difference, weight)


def _correlations(rows: Tensor, kernel: str, gamma: float, order: int) -> Tensor:
    """The kernel of all pairs of rows, (B, B)."""
    products = rows @ rows.T
    if kernel == "bilinear":
        return products
    series = torch.ones_like(products)
    for term in range(1, order + 1):
        series = series + (2 * gamma) ** term / math.factorial(term) * products**term
    return math.exp(-2 * gamma) * series


def _norm_over_pairs(difference: Tensor, weight: Tensor | None) -> Tensor:
    """The Frobenius norm of (B, B) over the number of pairs, as rows that count weigh."""
    share = row_shares(difference, weight)
    rows = (share > 0).sum().clamp(min=1)
    square = difference.square() @ share @ share
    return torch.where(square > 0, torch.where(square > 0, square, 1).sqrt(), 0) / rows


def _consecutive(student: Tensor, teacher: Tensor, weight: Tensor | None) -> Tensor:
    if student.shape != teacher.shape:
        raise InputError(
            f"cc with form='consecutive' subtracts the sides, but they have shapes {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}",
            fix="Set an adapter for the term, or take form='kernel'",
        )
    difference = (student - teacher).abs()
    if weight is not None:
        # Rows that do not count go last, so that those around them become neighbours.
        order = torch.argsort(counted(student, weight).logical_not().to(torch.uint8), stable=True)
        difference, weight = difference[order], weight[order]
    products = (difference[:-1] * difference[1:]).sum(dim=-1)
    return weighted_mean(products, None if weight is None else weight[:-1] * weight[1:])


class CC(DistillationLoss):
    """`cc` as a module."""

    options_type = CCOptions
    form: Literal["kernel", "consecutive"]
    kernel: Literal["gaussian", "bilinear"]
    gamma: float
    order: int
    normalize: bool
    reduction: Literal["mean_square", "norm"]

    def forward(self, student_features: Tensor, teacher_features: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `cc`."""
        return cc(
            student_features,
            teacher_features,
            weight,
            form=self.form,
            kernel=self.kernel,
            gamma=self.gamma,
            order=self.order,
            normalize=self.normalize,
            reduction=self.reduction,
        )
