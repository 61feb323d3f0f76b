"""Squared error between features of length 1.

Navaneet, Koohpayegani, Tejankar, Pirsiavash, "SimReg: Regression as a Simple Yet Effective Tool for Self-supervised
Knowledge Distillation", BMVC 2021, arXiv:2201.05131, section 3.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from mmdistill.losses.families.features import NormalisedMSEOptions
from mmdistill.losses.feature_shapes import channels_last, check_same_shape
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.unit_vectors import unit_vectors


def normalised_mse(
    student_features: Tensor,
    teacher_features: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    reduction: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """Squared error between L2-normalised features, averaged over rows or positions.

    The sum is 2 − 2 cos(student, teacher), the mean 1/D of it: the direction of `cosine_features`, in the units of a
    squared error, so that its weight can stay when `fitnets` is exchanged for it.

    Args:
        student_features: (B, D), (B, L, D), or maps (B, C, H, W), normalised position by position.
        teacher_features: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count; for (B, L, D) only.
        reduction: over the channels: ``mean`` or ``sum`` of the squares.

    Returns:
        A scalar from 0, where the directions are equal, to 4, or 4/D with ``mean``. Typical weight: 1 with ``sum``.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_same_shape(student_features, teacher_features, "features")
    student = unit_vectors(channels_last(widen(student_features)))
    teacher = unit_vectors(channels_last(widen(teacher_features.detach())))
    squares = (student - teacher).square()
    return weighted_mean(squares.mean(dim=-1) if reduction == "mean" else squares.sum(dim=-1), weight, mask)


class NormalisedMSE(DistillationLoss):
    """`normalised_mse` as a module."""

    options_type = NormalisedMSEOptions
    reduction: Literal["mean", "sum"]

    def forward(
        self,
        student_features: Tensor,
        teacher_features: Tensor,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `normalised_mse`."""
        return normalised_mse(student_features, teacher_features, weight, mask, reduction=self.reduction)
