"""DIST: correlation between the probabilities of student and teacher, over classes and over rows.

Huang, You, Wang, Qian, Xu, "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022, arXiv:2205.10536, equations
6 to 10.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.losses.families.divergences import DISTOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.probabilities import probabilities
from mmdistill.losses.reduction import position_weights, weighted_mean
from mmdistill.losses.shapes import check_logits

_CONSTANT = 1e-10
"""Standard deviation of probabilities below which they count as constant; its square is still a float32."""


def dist(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: float = 1.0,
    inter_weight: float = 1.0,
    intra_weight: float = 1.0,
    epsilon: float = 0.0,
) -> Tensor:
    """T² · (β · inter + γ · intra) with Pearson's correlation ρ of the softened probabilities.

    inter = 1 − ρ over the classes, averaged over rows; intra = 1 − ρ over the rows of the batch, averaged over classes.
    A correlation does not ask for equal probabilities, only for the same relations, which a small student can match
    with a much stronger teacher. Positions of a sequence and pixels of a map count as rows.

    A row or class whose probabilities are constant on a side has no correlation: it counts as ρ = 0 and gives no
    gradient. The authors' code adds 1e-8 to the product of the norms instead, so that its ρ of equal sides is below 1
    and a student with constant logits gets a gradient of the order of 1e7; torchdistill bounds the product from below.
    Elsewhere the three agree within 1e-6, less at high temperatures, where norms are small; `epsilon` gives the
    authors' numbers. The authors' code for segmentation has no temperature: leave it at 1.

    Args:
        student_logits: (B, C), (B, L, C) for sequences, or (B, C, H, W) for maps of classes.
        teacher_logits: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative; weighs the covariances over rows as well.
        mask: (B, L) or (B, H, W), true at positions that count.
        temperature: above 0; the paper takes 1 for ImageNet and 4 for CIFAR-100.
        inter_weight: β, of the correlation over classes.
        intra_weight: γ, of the correlation over rows.
        epsilon: added to the product of the norms, not negative; above 0 the loss does not quite reach 0.

    Returns:
        A scalar from 0 to T² · 2 · (β + γ), and 0 where student and teacher agree up to a constant per row.
        Typical weight: 2 beside 1 of the supervised loss.

    Raises:
        InputError: when the shapes do not belong together, or there is only one class.
    """
    student_logits, teacher_logits = _classes_last(student_logits), _classes_last(teacher_logits)
    check_logits(student_logits, teacher_logits)
    if student_logits.shape[-1] < 2:
        raise InputError("dist correlates the probabilities of classes, but the logits have only one class")
    if mask is not None:
        mask = mask.flatten(1)
    student = probabilities(student_logits, temperature)
    teacher = probabilities(teacher_logits.detach(), temperature)
    weights = position_weights(student[..., 0], weight, mask)
    inter = weighted_mean(_distance_over_classes(student, teacher, epsilon), weight, mask)
    flat = None if weights is None else weights.flatten()
    intra = _distance_over_rows(student.flatten(0, -2), teacher.flatten(0, -2), flat, epsilon)
    return (inter_weight * inter + intra_weight * intra) * temperature**2


def _classes_last(logits: Tensor) -> Tensor:
    """A map of classes (B, C, H, W) as positions (B, H · W, C); other logits as they are."""
    return logits.flatten(2).transpose(1, 2) if logits.dim() == 4 else logits


def _distance_over_classes(student: Tensor, teacher: Tensor, epsilon: float) -> Tensor:
    """1 − ρ of each row or position: probabilities (…, C) to (…)."""
    classes = student.shape[-1]
    mean = 1 / classes
    return 1 - _correlation(student - mean, teacher - mean, mean, mean, epsilon / classes, dim=-1)


def _distance_over_rows(student: Tensor, teacher: Tensor, weights: Tensor | None, epsilon: float) -> Tensor:
    """1 − ρ of each class over rows, averaged over classes: probabilities (N, C) and weights (N,) to a scalar."""
    if not len(student):
        return student.sum()
    if weights is None:
        means = student.mean(dim=0), teacher.mean(dim=0)
        return 1 - _correlation(student - means[0], teacher - means[1], *means, epsilon / len(student), dim=0).mean()
    total = weights.sum()
    share = (weights / torch.where(total > 0, total, 1))[:, None]
    means = (student * share).sum(dim=0), (teacher * share).sum(dim=0)
    root = (share * len(student)).sqrt()
    added = epsilon / (weights > 0).sum().clamp(min=1)
    correlation = _correlation((student - means[0]) * root, (teacher - means[1]) * root, *means, added, dim=0)
    return (1 - correlation.mean()) * (total > 0)


def _correlation(
    student: Tensor,
    teacher: Tensor,
    student_mean: Tensor | float,
    teacher_mean: Tensor | float,
    added: Tensor | float,
    dim: int,
) -> Tensor:
    """Correlation over `dim` of values that were centred by the given means; 0 where a side is constant.

    `added` stands beside the product of the standard deviations in the divisor.
    """
    root = student.shape[dim] ** 0.5
    covariance = (student * teacher).mean(dim=dim)
    student_spread = torch.linalg.vector_norm(student, dim=dim) / root
    teacher_spread = torch.linalg.vector_norm(teacher, dim=dim) / root
    # What centring leaves of a constant is rounding, in proportion to it.
    rounding = 8 * torch.finfo(student.dtype).eps
    varies = (student_spread > _CONSTANT + rounding * student_mean) & (
        teacher_spread > _CONSTANT + rounding * teacher_mean
    )
    return torch.where(varies, covariance / torch.where(varies, student_spread * teacher_spread + added, 1), 0)


class DIST(DistillationLoss):
    """`dist` as a module."""

    options_type = DISTOptions
    temperature: float
    inter_weight: float
    intra_weight: float
    epsilon: float

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """See `dist`."""
        return dist(
            student_logits,
            teacher_logits,
            weight,
            mask,
            temperature=self.temperature,
            inter_weight=self.inter_weight,
            intra_weight=self.intra_weight,
            epsilon=self.epsilon,
        )
