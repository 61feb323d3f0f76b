"""Relational knowledge distillation: distances of pairs and angles of triplets.

Park, Kim, Lu, Cho, "Relational Knowledge Distillation", CVPR 2019, arXiv:1904.05068, equations 3 to 11.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.losses.families.relations import RKDAngleOptions, RKDDistanceOptions, RKDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.relations import counted, mean_over_tuples, paired_rows
from mmdistill.losses.unit_vectors import unit_vectors

Measure: TypeAlias = Literal["length", "square"]


@without_autocast
def rkd_distance(
    student_features: Tensor,
    teacher_features: Tensor,
    weight: Tensor | None = None,
    *,
    measure: Measure = "length",
) -> Tensor:
    """Huber loss between the distances of all pairs of rows, each side's over its mean distance.

    The mean distance is taken over pairs that differ; the loss over all B² pairs, the B pairs of a row with itself
    included, as the authors do. The student's mean receives gradient as well. The authors' function can leave out the
    square root, off by default there as well: measure="square".

    Args:
        student_features: (B, D), or maps (B, C, H, W), which are flattened.
        teacher_features: (B, any width), or maps; receives no gradient.
        weight: (B,) weight of each row, not negative; a pair weighs the product.
        measure: length of the difference of two rows, or its square.

    Returns:
        A scalar, at least 0, and 0 where all distances agree up to a factor. Typical weight: 25 (1 for embeddings that
        are compared by distance).

    Raises:
        InputError: when the shapes do not belong together.
    """
    student, teacher = paired_rows(student_features, teacher_features, weight)
    counts = counted(student, weight)
    found, wanted = (_distances(side, counts, measure) for side in (student, teacher))
    losses = F.smooth_l1_loss(found, wanted, reduction="none")
    return mean_over_tuples(losses, weight)


def _distances(rows: Tensor, counts: Tensor, measure: Measure) -> Tensor:
    """Distances of all pairs of rows (B, B) over the mean of those above zero between rows that count."""
    # Not by products of rows: what they cancel would be the small distances.
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    if measure == "square":
        distances = distances.square()
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
    directions = unit_vectors(rows[None, :, :] - rows[:, None, :])
    return directions @ directions.transpose(1, 2)


def rkd(
    student_features: Tensor,
    teacher_features: Tensor,
    weight: Tensor | None = None,
    *,
    distance_weight: float = 25.0,
    angle_weight: float = 50.0,
    measure: Measure = "length",
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
        measure: of distances, see `rkd_distance`.

    Returns:
        A scalar, at least 0, and 0 where both sides have the same shape up to a factor and a rotation. Typical weight:
        1, as the two weights are inside.

    Raises:
        InputError: when the shapes do not belong together.
    """
    distance = rkd_distance(student_features, teacher_features, weight, measure=measure)
    return distance_weight * distance + angle_weight * rkd_angle(student_features, teacher_features, weight)


class RKDDistance(DistillationLoss):
    """`rkd_distance` as a module."""

    options_type = RKDDistanceOptions
    measure: Measure

    def forward(self, student_features: Tensor, teacher_features: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `rkd_distance`."""
        return rkd_distance(student_features, teacher_features, weight, measure=self.measure)


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
    measure: Measure

    def forward(self, student_features: Tensor, teacher_features: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `rkd`."""
        return rkd(
            student_features,
            teacher_features,
            weight,
            distance_weight=self.distance_weight,
            angle_weight=self.angle_weight,
            measure=self.measure,
        )
