"""Centred kernel alignment as a loss.

Kornblith, Norouzi, Lee, Hinton, "Similarity of Neural Network Representations Revisited", ICML 2019, arXiv:1905.00414,
sections 3 and 4; the debiased estimate: Song, Smola, Gretton, Bedo, Borgwardt, "Feature Selection via Dependence
Maximization", JMLR 2012, equation 5, as used for batches by Nguyen, Raghu, Kornblith, "Do Wide and Deep Networks Learn
the Same Things?", ICLR 2021, arXiv:2010.15327.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mmdistill.losses.families.relations import CKAOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.relations import counted, paired_rows


@without_autocast
def cka(
    student_features: Tensor,
    teacher_features: Tensor,
    weight: Tensor | None = None,
    *,
    kernel: Literal["linear", "rbf"] = "linear",
    bandwidth: float = 1.0,
    estimator: Literal["biased", "debiased"] = "biased",
) -> Tensor:
    """1 − HSIC(K_s, K_t) / √(HSIC(K_s, K_s) · HSIC(K_t, K_t)), K the kernels of all pairs of rows.

    HSIC is the Hilbert-Schmidt independence criterion: the product of the centred kernels. From few rows and many
    dimensions the usual estimate is too high, more so the smaller the batch; the debiased one is right on average.

    Args:
        student_features: (B, D), or maps (B, C, H, W), which are flattened.
        teacher_features: (B, any width), or maps; receives no gradient.
        weight: (B,) weight of each row, not negative. The debiased estimate only asks whether it is above zero.
        kernel: linear: products of rows; rbf: exp(−d² / (2 σ²)) of their distance d.
        bandwidth: σ of the rbf kernel in median distances between rows, above 0; each side has its own median.
        estimator: of HSIC; debiased needs four rows, and teaches nothing from fewer.

    Returns:
        A scalar between 0 and 1 (1 is exceeded by the debiased estimate), 0 where both sides agree up to a shift, a
        factor and a rotation, and 0 where all teacher rows are the same. Typical weight: 1.

    Raises:
        InputError: when the shapes do not belong together.
    """
    student, teacher = paired_rows(student_features, teacher_features, weight)
    counts = counted(student, weight)
    kernels = [_linear(rows) if kernel == "linear" else _rbf(rows, counts, bandwidth) for rows in (student, teacher)]
    if estimator == "debiased":
        alignment, student_size, teacher_size = _debiased(kernels[0], kernels[1], counts)
    else:
        share = _shares(student, weight)
        alignment, student_size, teacher_size = _biased(kernels[0], kernels[1], share)
    return torch.where(teacher_size > 0, 1 - alignment * _inverse_root(student_size) * _inverse_root(teacher_size), 0)


def _linear(rows: Tensor) -> Tensor:
    return rows @ rows.T


def _rbf(rows: Tensor, counts: Tensor, bandwidth: float) -> Tensor:
    squares = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").square()
    between = counts[:, None] & counts[None, :] & ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    median = torch.where(between, squares, torch.nan).nanmedian()
    return torch.exp(-squares / (2 * bandwidth**2 * torch.where(median > 0, median, 1)))


def _shares(rows: Tensor, weight: Tensor | None) -> Tensor:
    """Each row's share of the weight, (B,), adding to 1, or all 0 where no row counts."""
    weight = torch.ones_like(rows[:, 0]) if weight is None else weight.to(rows.dtype)
    total = weight.sum()
    return weight / torch.where(total > 0, total, 1)


def _biased(first: Tensor, second: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """HSIC between two kernels and of each with itself: products of the centred kernels, weighted by pairs."""

    def centred(kernel: Tensor) -> Tensor:
        means = kernel @ share
        return kernel - means[:, None] - means[None, :] + means @ share

    first, second = centred(first), centred(second)
    products = ((first * second), first.square(), second.square())
    between, one, other = (product @ share @ share for product in products)
    return between, one, other


def _debiased(first: Tensor, second: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same without bias, each times n(n − 3); all zero with less than four rows."""
    apart = counts[:, None] & counts[None, :] & ~torch.eye(len(counts), dtype=torch.bool, device=counts.device)
    first, second = first * apart, second * apart
    number = counts.sum()
    enough = number > 3
    rows = torch.where(enough, number, 4).to(first.dtype)

    def criterion(one: Tensor, other: Tensor) -> Tensor:
        sums, other_sums = one.sum(dim=1), other.sum(dim=1)
        totals = sums.sum() * other_sums.sum() / ((rows - 1) * (rows - 2))
        return torch.where(enough, (one * other).sum() + totals - 2 / (rows - 2) * (sums @ other_sums), 0)

    return criterion(first, second), criterion(first, first), criterion(second, second)


def _inverse_root(size: Tensor) -> Tensor:
    """1 / √size, and 0 where there is none."""
    return torch.where(size > 0, torch.where(size > 0, size, 1).rsqrt(), 0)


class CKA(DistillationLoss):
    """`cka` as a module."""

    options_type = CKAOptions
    kernel: Literal["linear", "rbf"]
    bandwidth: float
    estimator: Literal["biased", "debiased"]

    def forward(self, student_features: Tensor, teacher_features: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `cka`."""
        return cka(
            student_features,
            teacher_features,
            weight,
            kernel=self.kernel,
            bandwidth=self.bandwidth,
            estimator=self.estimator,
        )
