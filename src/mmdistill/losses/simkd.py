"""SimKD: the last feature maps of the student, projected, imitate those that the teacher's head reads.

Chen, Mei, Zhang, Wang, Feng, Chen, "Knowledge Distillation with the Reused Teacher Classifier", CVPR 2022,
arXiv:2203.14001, equation 4.
"""

from __future__ import annotations

from torch import Tensor

from mmdistill.losses.families.features import SimKDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.pooling import pool_to_smaller
from mmdistill.losses.precision import widen
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.stages import check_maps


def simkd(student_maps: Tensor, teacher_maps: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error between maps, the larger pooled to the size of the smaller.

    The loss is all that the student learns from: the teacher's head, taken over as it is, classifies the student's
    projected maps, so no loss on logits or targets is needed. The projector stays part of the student.

    Args:
        student_maps: (B, C, H, W) after the projector, with 1 to 3 spatial axes.
        teacher_maps: (B, C, H', W'), as many channels and axes; receives no gradient.
        weight: (B,) weight of each row, not negative.

    Returns:
        A scalar, at least 0, and 0 where the maps are equal. Typical weight: 1, the only loss.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_maps(student_maps, teacher_maps, equal_widths=True)
    student, teacher = pool_to_smaller(widen(student_maps), widen(teacher_maps.detach()))
    return weighted_mean((student - teacher).square().flatten(1).mean(dim=1), weight)


class SimKD(DistillationLoss):
    """`simkd` as a module."""

    options_type = SimKDOptions

    def forward(self, student_maps: Tensor, teacher_maps: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `simkd`."""
        return simkd(student_maps, teacher_maps, weight)
