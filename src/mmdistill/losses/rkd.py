"""Relational knowledge distillation: distances of pairs and angles of triplets.

Park, Kim, Lu, Cho, "Relational Knowledge Distillation", CVPR 2019, arXiv:1904.05068, equations 3 to 11.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.losses.families.relations import RKDAngleOptions, RKDDistanceOptions, RKDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.relations import counted, mean_over_tuples, paired_rows, unit


@without_autocast
def rkd_distance(student_features: Tensor, teacher_features: Tensor, weight: Tensor | None = None) -> Tensor:
    """Huber loss between the distances of all pairs of rows, each side's over its mean distance.

    The mean distance is taken over pairs that differ; the loss over all B² pairs, the B pairs of a row with itself
    included, as the authors do. The student's mean receives gradient as well.

    Args:
        student_features: (B, D), or maps (B, C, H, W), which are flattened.
        teacher_features: (B, any width), or maps; receives no gradient.
        weight: (B,) weight of each row, not negative; a pair weighs the product.

    Returns:
        A scalar, at least 0, and 0 where all distances agree up to a factor. Typical weight: 25 (1 for embeddings that
        are compared by distance).

    Raises:
        InputError: when the shapes do not belong together.
    """
    student, teacher = paired_rows(student_features, teacher_features, weight)
    counts = counted(student, weight)
    losses = F.smooth_l1_loss(_distances(student, counts), _distances(teacher, counts), reduction="none")
    return mean_over_tuples(losses, weight)


def _distances(rows: Tensor, counts: Tensor) -> Tensor:
    """Distances of all pairs of rows (B, B) over the mean of those above zero between rows that count."""
    # Not by products of rows: what they cancel would be the small distances.
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    between = (distances > 0) & counts[:, None] & counts[None, :]
    mean = (distances * between).sum() / between.sum().clamp(min=1)
    return distances / torch.where(mean > 0, mean, 1)


@without_autocast
def rkd_angle(student_features: Tensor, teacher_features: Tensor, weight: Tensor | None = None) -> Tensor:
    """Huber loss between the cosines of the angles of all triplets of rows, at each of them as the corner.

    The mean is over all B³ triplets, those with a row more than once (cosine 0 or 1 on both sides) included, as the
    authors do.

    Args:
        student_features: (B, D), or maps (B, C, H, W), which are flattened.
        teacher_features: (B, any width), or maps; receives no gradient.
        weight: (B,) weight of each row, not negative; a triplet weighs the product.

    Returns:
        A scalar, at least 0, and 0 where all angles agree. Typical weight: 50 (2 for embeddings that are compared by
        distance).

    Raises:
        InputError: when the shapes do not belong together.
    """
    student, teacher = paired_rows(student_features, teacher_features, weight)
    losses = F.smooth_l1_loss(_cosines(student), _cosines(teacher), reduction="none")
    return mean_over_tuples(losses, weight)


def _cosines(rows: Tensor) -> Tensor:
    """Cosine of the angle at row i between the directions to j and k, (B, B, B)."""
    directions = unit(rows[None, :, :] - rows[:, None, :])
    return directions @ directions.transpose(1, 2)


def rkd(
    student_features: Tensor,
    teacher_features: Tensor,
    weight: Tensor | None = None,
    *,
    distance_weight: float = 25.0,
    angle_weight: float = 50.0,
) -> Tensor:
    """distance_weight · `rkd_distance` + angle_weight · `rkd_angle`.

    The weights are those of the CIFAR toolkits, the paper's own for classification; for metric learning it takes 1 and
    2.

    Args:
        student_features: (B, D), or maps (B, C, H, W), which are flattened.
        teacher_features: (B, any width), or maps; receives no gradient.
        weight: (B,) weight of each row, not negative.
        distance_weight: of the distances of pairs.
        angle_weight: of the angles of triplets.

    Returns:
        A scalar, at least 0, and 0 where both sides have the same shape up to a factor and a rotation. Typical weight:
        1, as the two weights are inside.

    Raises:
        InputError: when the shapes do not belong together.
    """
    distance = rkd_distance(student_features, teacher_features, weight)
    return distance_weight * distance + angle_weight * rkd_angle(student_features, teacher_features, weight)


class RKDDistance(DistillationLoss):
    """`rkd_distance` as a module."""

    options_type = RKDDistanceOptions

    def forward(self, student_features: Tensor, teacher_features: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `rkd_distance`."""
        return rkd_distance(student_features, teacher_features, weight)


class RKDAngle(DistillationLoss):
    """`rkd_angle` as a module."""

    options_type = RKDAngleOptions

    def forward(self, student_features: Tensor, teacher_features: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `rkd_angle`."""
        return rkd_angle(student_features, teacher_features, weight)


class RKD(DistillationLoss):
    """`rkd` as a module."""

    options_type = RKDOptions
    distance_weight: float
    angle_weight: float

    def forward(self, student_features: Tensor, teacher_features: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `rkd`."""
        return rkd(
            student_features,
            teacher_features,
            weight,
            distance_weight=self.distance_weight,
            angle_weight=self.angle_weight,
        )
