"""Knowledge of layers as singular vectors: how the directions of one layer's map go with the next one's.

Lee, Kim, Song, "Self-supervised Knowledge Distillation Using Singular Value Decomposition", ECCV 2018,
arXiv:1807.06819, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.errors import InputError
from mmdistill.losses.families.maps import KDSVDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.singular_vectors import singular_vectors
from mmdistill.losses.stages import Stages, pair_stages, sum_of_stages

Layout: TypeAlias = Literal["channels", "width"]
CANDIDATES = 3
"""Vectors of the student beyond the teacher's count that an alignment may choose from, in the authors' code."""


@without_autocast
def kdsvd(
    student_stages: Stages,
    teacher_stages: Stages,
    weight: Tensor | None = None,
    *,
    vectors: int = 1,
    layout: Layout = "channels",
) -> Tensor:
    """Squared difference of the radial basis features of consecutive stages, added up, averaged over rows.

    The map of a row is a matrix of positions × channels, of which the leading right singular vectors are kept, times
    their singular values over the norm of those that are kept. Each of the teacher's is given the most similar of the
    student's leading ones, turned to its side. The features of two stages are exp(−(x − y)² / 8) for all pairs of an
    entry x of a vector of the first and an entry y of the same vector of the second.

    mdistiller takes a matrix of (channels · height) × width instead, which is ``layout="width"``. A singular vector has
    no sign, but the features of two stages depend on it: here the teacher's largest entry is positive, so that the loss
    does not depend on the library that computes the decomposition. The gradient is finite where singular values meet.

    Args:
        student_stages: two maps (B, C, *positions) at least, shallow to deep.
        teacher_stages: as many maps of the same channels (the same width with ``width``); receive no gradient.
        weight: (B,) weight of each row, not negative.
        vectors: how many of the teacher's vectors are kept, at most as many as a map has.
        layout: see above.

    Returns:
        A scalar, at least 0, and 0 where the vectors agree. Typical weight: 1.

    Raises:
        InputError: when the stages do not belong together, or there is only one.
    """
    pairs = pair_stages(student_stages, teacher_stages, equal_widths=layout == "channels", at_least=2)
    ours, theirs = [], []
    for student, teacher in pairs:
        if layout == "width" and student.shape[-1] != teacher.shape[-1]:
            raise InputError(
                f"The widths differ: {student.shape[-1]} of the student, {teacher.shape[-1]} of the teacher"
            )
        target = teacher_vectors(teacher, vectors, layout)
        ours.append(aligned_vectors(student, target, layout))
        theirs.append(target)
    return distance_of_vectors(ours, theirs, weight)


def teacher_vectors(maps: Tensor, vectors: int, layout: Layout) -> Tensor:
    """The leading vectors (B, D, vectors), largest entry positive, times their singular values over their norm."""
    values, found = singular_vectors(_matrices(maps, layout))
    found = found[:, :, :vectors]
    largest = found.gather(1, found.abs().argmax(dim=1, keepdim=True))
    return torch.where(largest < 0, -found, found) * F.normalize(values[:, :vectors], dim=1)[:, None, :]


def aligned_vectors(maps: Tensor, target: Tensor, layout: Layout) -> Tensor:
    """For each of the teacher's vectors (B, D, K) the most similar of the student's, of the same side and length."""
    _, found = singular_vectors(_matrices(maps, layout))
    found = found[:, :, : target.shape[2] + CANDIDATES]
    cosine = found.detach().mT @ F.normalize(target, dim=1)
    nearest = cosine.abs().argmax(dim=1, keepdim=True)
    chosen = found.gather(2, nearest.expand(-1, found.shape[1], -1))
    signed = torch.where(cosine.gather(1, nearest) < 0, -chosen, chosen)
    return signed * torch.linalg.vector_norm(target, dim=1, keepdim=True)


def distance_of_vectors(student: Sequence[Tensor], teacher: Sequence[Tensor], weight: Tensor | None = None) -> Tensor:
    """The loss of `kdsvd` from the vectors (B, D, K) of each stage."""
    values = []
    for i in range(1, len(student)):
        difference = _features(student[i], student[i - 1]) - _features(teacher[i], teacher[i - 1])
        values.append(difference.square().sum(dim=(1, 2, 3)))
    return weighted_mean(sum_of_stages(values), weight)


def _features(vectors: Tensor, previous: Tensor) -> Tensor:
    """Radial basis features (B, D, D', K) of two stages."""
    kept = min(vectors.shape[2], previous.shape[2])
    return torch.exp(-(vectors[:, :, None, :kept] - previous[:, None, :, :kept]).square() / 8)


def _matrices(maps: Tensor, layout: Layout) -> Tensor:
    """One matrix a row, whose right singular vectors are compared."""
    return maps.flatten(2).mT if layout == "channels" else maps.flatten(1, -2)


class KDSVD(DistillationLoss):
    """`kdsvd` as a module."""

    options_type = KDSVDOptions
    vectors: int
    layout: Layout

    def forward(self, student_stages: Stages, teacher_stages: Stages, weight: Tensor | None = None) -> Tensor:
        """See `kdsvd`."""
        return kdsvd(student_stages, teacher_stages, weight, vectors=self.vectors, layout=self.layout)
