"""Neuron selectivity transfer: the distributions of the channels' maps are matched by maximum mean discrepancy.

Huang, Wang, "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer", 2017, arXiv:1707.01219,
section 4.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.losses.families.maps import NSTOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.pooling import pool_to_smaller
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.stages import Stages, pair_stages, sum_of_stages

Kernel: TypeAlias = Literal["polynomial", "linear", "gaussian"]


@without_autocast
def nst(
    student_stages: Stages,
    teacher_stages: Stages,
    weight: Tensor | None = None,
    *,
    kernel: Kernel = "polynomial",
    degree: int = 2,
    constant: float = 0.0,
) -> Tensor:
    """Squared maximum mean discrepancy between the channels of both sides, added up over stages, averaged over rows.

    A channel is its map over all positions, divided by its L2 norm. With k the mean of the kernel over all pairs of
    channels, the value of a row is k(t, t) + k(s, s) − 2 k(s, t). Kernels:

    - polynomial: (xᵀy + constant)^degree; degree 2 and constant 0 is the paper's best and the ports' only one.
    - linear: xᵀy, the squared distance between the mean maps of the channels.
    - gaussian: exp(−‖x − y‖² / 2σ²), σ² being the mean squared distance of the pairs (student, teacher) of a row.

    The larger of two maps is average-pooled to the size of the smaller.

    Args:
        student_stages: maps (B, C, *positions), shallow to deep; a lone tensor is one stage.
        teacher_stages: as many maps, of any number of channels and any size; receive no gradient.
        weight: (B,) weight of each row, not negative.
        kernel: see above.
        degree: of the polynomial kernel.
        constant: of the polynomial kernel, not negative.

    Returns:
        A scalar, at least 0 but for rounding, and 0 where the channels of both sides are the same in any order.
        Typical weight: 50 with the polynomial kernel.

    Raises:
        InputError: when the stages do not belong together.
    """
    values = []
    for student, teacher in pair_stages(student_stages, teacher_stages):
        pooled = pool_to_smaller(student, teacher)
        ours, theirs = (F.normalize(maps.flatten(2), dim=2) for maps in pooled)
        if kernel == "polynomial":
            values.append(_polynomial(ours, theirs, degree, constant))
        else:
            values.append(_linear(ours, theirs) if kernel == "linear" else _gaussian(ours, theirs))
    return weighted_mean(sum_of_stages(values), weight)


def _polynomial(ours: Tensor, theirs: Tensor, degree: int, constant: float) -> Tensor:
    def mean_kernel(first: Tensor, second: Tensor) -> Tensor:
        return (first @ second.transpose(1, 2) + constant).pow(degree).mean(dim=(1, 2))

    return mean_kernel(theirs, theirs) + mean_kernel(ours, ours) - 2 * mean_kernel(ours, theirs)


def _linear(ours: Tensor, theirs: Tensor) -> Tensor:
    return (ours.mean(dim=1) - theirs.mean(dim=1)).square().sum(dim=1)


def _gaussian(ours: Tensor, theirs: Tensor) -> Tensor:
    across = _squared_distances(ours, theirs)
    # The floor is for channels that are all alike, where every distance is zero.
    bandwidth = across.mean(dim=(1, 2), keepdim=True).clamp(min=1e-12)

    def mean_kernel(distances: Tensor) -> Tensor:
        return torch.exp(-distances / (2 * bandwidth)).mean(dim=(1, 2))

    within = mean_kernel(_squared_distances(theirs, theirs)) + mean_kernel(_squared_distances(ours, ours))
    return within - 2 * mean_kernel(across)


def _squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """‖x − y‖² of all pairs of channels, (B, C, P) and (B, C', P) → (B, C, C')."""
    squares = first.square().sum(dim=2)[:, :, None] + second.square().sum(dim=2)[:, None, :]
    return (squares - 2 * first @ second.transpose(1, 2)).clamp(min=0)


class NST(DistillationLoss):
    """`nst` as a module."""

    options_type = NSTOptions
    kernel: Kernel
    degree: int
    constant: float

    def forward(self, student_stages: Stages, teacher_stages: Stages, weight: Tensor | None = None) -> Tensor:
        """See `nst`."""
        return nst(
            student_stages,
            teacher_stages,
            weight,
            kernel=self.kernel,
            degree=self.degree,
            constant=self.constant,
        )
