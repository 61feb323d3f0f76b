"""Class attention transfer.

Guo, Yan, Li, Lin, "Class Attention Transfer Based Knowledge Distillation", CVPR 2023, arXiv:2304.12777, equations 4
to 6.
"""

from __future__ import annotations

from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.losses.families.features import CATKDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.pooling import pool_to
from mmdistill.losses.precision import widen, without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.stages import check_maps
from mmdistill.losses.unit_vectors import unit_vectors


@without_autocast
def catkd(
    student_maps: Tensor,
    teacher_maps: Tensor,
    student_head_weight: Tensor | None = None,
    teacher_head_weight: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    resolution: int = 2,
    normalise: bool = True,
    binarise: bool = False,
) -> Tensor:
    """Mean squared error between class activation maps, pooled and each brought to length 1.

    A class activation map is the sum of a network's last maps, weighted by the row of its linear head for that class.
    Without head weights the maps are taken to be class activation maps already, as in networks that end in a 1x1
    convolution and global pooling.

    Args:
        student_maps: (B, C, …) with 1 to 3 spatial axes.
        teacher_maps: (B, C', …) as many spatial axes, of any size; receives no gradient.
        student_head_weight: (classes, C), the weight of the student's head; receives gradient.
        teacher_head_weight: (classes, C'), of the teacher's head.
        weight: (B,) weight of each row, not negative.
        resolution: cells along each spatial axis that the maps are averaged over.
        normalise: divide each class's pooled map by its L2 norm.
        binarise: replace the teacher's map by 1 where it is above its mean absolute value and 0 elsewhere, before it is
            pooled; the paper's ablation of how much the values matter.

    Returns:
        A scalar, at least 0, and without `binarise` 0 where the maps agree. Typical weight: 400 (50 to 400).

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_maps(student_maps, teacher_maps)
    student = _activation_maps(widen(student_maps), student_head_weight, "student")
    teacher = _activation_maps(
        widen(teacher_maps.detach()), None if teacher_head_weight is None else teacher_head_weight.detach(), "teacher"
    )
    if student.shape[1] != teacher.shape[1]:
        raise InputError(
            f"The class counts differ: the student has {student.shape[1]} class activation maps, the teacher "
            f"{teacher.shape[1]}",
            fix="Give student_head_weight and teacher_head_weight, or compare maps that have one channel a class",
        )
    positions = tuple(range(2, teacher.dim()))
    if binarise:
        teacher = (teacher > teacher.abs().mean(dim=positions, keepdim=True)).to(teacher.dtype)
    size = [resolution] * len(positions)
    student, teacher = pool_to(student, size).flatten(2), pool_to(teacher, size).flatten(2)
    if normalise:
        student, teacher = unit_vectors(student), unit_vectors(teacher)
    return weighted_mean((student - teacher).square().flatten(1).mean(dim=1), weight)


def _activation_maps(maps: Tensor, head_weight: Tensor | None, side: str) -> Tensor:
    """(B, classes, …) from maps (B, C, …) and the weight (classes, C) of the head."""
    if head_weight is None:
        return maps
    if head_weight.dim() != 2 or head_weight.shape[1] != maps.shape[1]:
        raise InputError(
            f"{side}_head_weight has shape {tuple(head_weight.shape)}, but {side}_maps {tuple(maps.shape)}",
            fix="Give the weight (classes, channels) of the linear head that reads these maps after pooling",
        )
    return (widen(head_weight) @ maps.flatten(2)).unflatten(2, maps.shape[2:])


class CATKD(DistillationLoss):
    """`catkd` as a module."""

    options_type = CATKDOptions
    resolution: int
    normalise: bool
    binarise: bool

    def forward(
        self,
        student_maps: Tensor,
        teacher_maps: Tensor,
        student_head_weight: Tensor | None = None,
        teacher_head_weight: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """See `catkd`."""
        return catkd(
            student_maps,
            teacher_maps,
            student_head_weight,
            teacher_head_weight,
            weight,
            resolution=self.resolution,
            normalise=self.normalise,
            binarise=self.binarise,
        )
