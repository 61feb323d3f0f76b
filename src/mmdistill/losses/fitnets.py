"""FitNets: the student's features regress the teacher's, the hint.

Romero, Ballas, Kahou, Chassang, Gatta, Bengio, "FitNets: Hints for Thin Deep Nets", ICLR 2015, arXiv:1412.6550,
equation 3. With a mask the same loss trains the hidden states of TinyBERT (Jiao et al., 2020, arXiv:1909.10351,
equation 8), TextBrewer and DistillKit.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from mmdistill.losses.families.features import FitNetsOptions
from mmdistill.losses.feature_shapes import check_same_shape
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen
from mmdistill.losses.reduction import weighted_mean


def fitnets(
    student_features: Tensor,
    teacher_features: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    reduction: Literal["mean", "half_sum"] = "mean",
) -> Tensor:
    """Squared error between features, averaged over rows or positions.

    The paper writes half the sum of the squares of a row; all implementations at hand take their mean. The paper's
    regressor stands in front of the student's features: it is the objective's adapter, not part of the loss.

    Args:
        student_features: (B, D), (B, L, D), or maps (B, C, H, W), after the regressor.
        teacher_features: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count; for (B, L, D) only.
        reduction: over the values of a row, or of a position where there are some: ``mean`` of the squares, or
            ``half_sum``, half of their sum.

    Returns:
        A scalar, at least 0, and 0 where student and teacher are equal. Typical weight: 100 with ``mean``.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_same_shape(student_features, teacher_features, "features")
    squares = (widen(student_features) - widen(teacher_features.detach())).square()
    squares = squares if squares.dim() == 3 else squares.flatten(1)
    errors = squares.mean(dim=-1) if reduction == "mean" else 0.5 * squares.sum(dim=-1)
    return weighted_mean(errors, weight, mask)


class FitNets(DistillationLoss):
    """`fitnets` as a module."""

    options_type = FitNetsOptions
    reduction: Literal["mean", "half_sum"]

    def forward(
        self,
        student_features: Tensor,
        teacher_features: Tensor,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `fitnets`."""
        return fitnets(student_features, teacher_features, weight, mask, reduction=self.reduction)
