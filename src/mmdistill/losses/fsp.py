"""Flow of the solution procedure: how one layer's channels go with a deeper layer's, as inner products.

Yim, Joo, Bae, Kim, "A Gift from Knowledge Distillation: Fast Optimization, Network Minimization and Transfer Learning",
CVPR 2017, equations 1 and 2.
"""

from __future__ import annotations

import itertools
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from mmdistill.losses.families.maps import FSPOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.pooling import Pooling, pool_to_smaller
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.stages import Stages, pair_stages, reduce_elements, sum_of_stages

MatrixDistance: TypeAlias = Literal["sum", "mean", "norm"]


@without_autocast
def fsp(
    student_stages: Stages,
    teacher_stages: Stages,
    weight: Tensor | None = None,
    *,
    distance: MatrixDistance = "sum",
    pooling: Pooling = "max",
) -> Tensor:
    """Squared difference of the flow matrices of consecutive stages, added up over the pairs, averaged over rows.

    The flow matrix of two layers is Σ_p x_p y_pᵀ / P over the P positions, one row a channel of the first and one
    column a channel of the second; the larger map is pooled to the size of the smaller. The paper pools by the maximum
    and sums the squares. RepDistiller averages in both places; torchdistill takes the norm of each column, not squared.

    Args:
        student_stages: two maps (B, C, *positions) at least, shallow to deep.
        teacher_stages: as many maps of the same channels, of any size; receive no gradient.
        weight: (B,) weight of each row, not negative.
        distance: over the entries of a matrix: ``sum`` of the squares (the paper), their ``mean`` (RepDistiller), or
            ``norm``, the sum over columns of their norms (torchdistill).
        pooling: ``max`` (the paper, torchdistill) or ``average`` (RepDistiller).

    Returns:
        A scalar, at least 0, and 0 where the flow matrices agree. Typical weight: 1 with ``sum``, 50 with ``mean``; in
        the paper a first stage of its own, before the labels.

    Raises:
        InputError: when the stages do not belong together, or there is only one.
    """
    pairs = pair_stages(student_stages, teacher_stages, equal_widths=True, at_least=2)
    values = []
    for (student, teacher), (next_student, next_teacher) in itertools.pairwise(pairs):
        difference = _flow(student, next_student, pooling) - _flow(teacher, next_teacher, pooling)
        if distance == "norm":
            values.append(torch.linalg.vector_norm(difference, dim=1).sum(dim=1))
        else:
            values.append(reduce_elements(difference.square(), distance))
    return weighted_mean(sum_of_stages(values), weight)


def _flow(first: Tensor, second: Tensor, pooling: Pooling) -> Tensor:
    """The flow matrices (B, C, C') of two layers."""
    first, second = (maps.flatten(2) for maps in pool_to_smaller(first, second, pooling))
    return first @ second.transpose(1, 2) / first.shape[2]


class FSP(DistillationLoss):
    """`fsp` as a module."""

    options_type = FSPOptions
    distance: MatrixDistance
    pooling: Pooling

    def forward(self, student_stages: Stages, teacher_stages: Stages, weight: Tensor | None = None) -> Tensor:
        """See `fsp`."""
        return fsp(student_stages, teacher_stages, weight, distance=self.distance, pooling=self.pooling)
