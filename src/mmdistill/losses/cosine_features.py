"""Cosine loss between features.

Sanh, Debut, Chaumond, Wolf, "DistilBERT, a distilled version of BERT: smaller, faster, cheaper and lighter", NeurIPS
workshop on energy efficient machine learning 2019, arXiv:1910.01108, section 2.
"""

from __future__ import annotations

from torch import Tensor

from mmdistill.losses.families.features import CosineFeaturesOptions
from mmdistill.losses.feature_shapes import channels_last, check_same_shape
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.unit_vectors import unit_vectors


def cosine_features(
    student_features: Tensor,
    teacher_features: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """1 − cos(student, teacher) over the channels, averaged over rows or positions.

    Args:
        student_features: (B, D), (B, L, D), or maps (B, C, H, W), compared position by position.
        teacher_features: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count; for (B, L, D) only.

    Returns:
        A scalar from 0, where the directions are equal, to 2, where they are opposite; vectors of zeros have cosine 0
        with everything. Typical weight: 1 beside 5 of kd and 2 of the supervised loss.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_same_shape(student_features, teacher_features, "features")
    student = unit_vectors(channels_last(widen(student_features)))
    teacher = unit_vectors(channels_last(widen(teacher_features.detach())))
    return weighted_mean(1 - (student * teacher).sum(dim=-1), weight, mask)


class CosineFeatures(DistillationLoss):
    """`cosine_features` as a module."""

    options_type = CosineFeaturesOptions

    def forward(
        self,
        student_features: Tensor,
        teacher_features: Tensor,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `cosine_features`."""
        return cosine_features(student_features, teacher_features, weight, mask)
