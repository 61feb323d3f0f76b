"""SimKD: the projected features of the student imitate those that the teacher's head reads.

Chen, Mei, Zhang, Wang, Feng, Chen, "Knowledge Distillation with the Reused Teacher Classifier", CVPR 2022,
arXiv:2203.14001, equation 4.
"""

from __future__ import annotations

from torch import Tensor

from mmdistill.losses.families.features import SimKDOptions
from mmdistill.losses.feature_shapes import check_same_shape
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.pooling import pool_to_smaller
from mmdistill.losses.precision import widen
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.stages import check_maps


def simkd(student_features: Tensor, teacher_features: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error between what the head reads on both sides; of maps, the larger is pooled to the smaller.

    The loss is all that the student learns from: the teacher's head, taken over as it is, classifies the student's
    projected features, so no loss on logits or targets is needed. The projector stays part of the student
    (`students.<name>.head: teacher` in a recipe). The paper projects the last maps; a model whose head reads `fused`
    projects that.

    Args:
        student_features: (B, D), or maps (B, C, H, W) with 1 to 3 spatial axes, after the projector.
        teacher_features: (B, D), or maps (B, C, H', W') of as many channels and axes; receives no gradient.
        weight: (B,) weight of each row, not negative.

    Returns:
        A scalar, at least 0, and 0 where the features are equal. Typical weight: 1, the only loss.

    Raises:
        InputError: when the shapes do not belong together.
    """
    student, teacher = widen(student_features), widen(teacher_features.detach())
    if student.dim() > 2:
        check_maps(student_features, teacher_features, equal_widths=True, name="features")
        student, teacher = pool_to_smaller(student, teacher)
    else:
        check_same_shape(student_features, teacher_features, "features")
    return weighted_mean((student - teacher).square().flatten(1).mean(dim=1), weight)


class SimKD(DistillationLoss):
    """`simkd` as a module."""

    options_type = SimKDOptions

    def forward(self, student_features: Tensor, teacher_features: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `simkd`."""
        return simkd(student_features, teacher_features, weight)
