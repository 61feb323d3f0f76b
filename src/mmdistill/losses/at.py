"""Attention transfer: where the student looks, summed over channels, as the teacher does.

Zagoruyko, Komodakis, "Paying More Attention to Attention: Improving the Performance of Convolutional Neural Networks
via Attention Transfer", ICLR 2017, arXiv:1612.03928, equation 2.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.errors import InputError
from mmdistill.losses.families.maps import ATOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.pooling import pool_to_smaller
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.stages import Stages, pair_stages, sum_of_stages


def at(
    student_stages: Stages,
    teacher_stages: Stages,
    weight: Tensor | None = None,
    *,
    power: float = 2.0,
    distance: Literal["mean_square", "norm"] = "mean_square",
    absolute: bool = True,
) -> Tensor:
    """Distance between attention maps, added up over the stages and averaged over rows.

    An attention map is Σ_c |f_c|^power over the channels, flattened and divided by its L2 norm. The paper's equation
    takes the L2 norm of the difference of two of them (torchdistill's "paper" form); the authors' code, and all ports,
    the mean of its squares over positions. The larger of two maps is average-pooled to the size of the smaller, as the
    ports do. They leave out the absolute value, which matters for odd powers only:
    ``absolute=False``.

    Args:
        student_stages: maps (B, C, *positions), shallow to deep; a lone tensor is one stage.
        teacher_stages: as many maps, of any number of channels and any size; receive no gradient.
        weight: (B,) weight of each row, not negative.
        power: 1 to 4; the higher, the more the strongest responses count.
        distance: ``mean_square``, the authors' code; ``norm``, the paper's equation.
        absolute: whether the power is that of the absolute value; without, it is a whole number.

    Returns:
        A scalar from 0 to 4 a stage with ``mean_square`` (much less in practice: norms are 1 over all positions), and
        to 2 with ``norm``; 0 where the attention agrees. Typical weight: 1000 with ``mean_square``, divided by the
        number of stages by some.

    Raises:
        InputError: when the stages do not belong together, or a power has no value.
    """
    if not absolute and power % 1:
        raise InputError(f"Negative responses have no power {power}", fix="Set a whole power, or absolute=True")
    values = []
    for student, teacher in pair_stages(student_stages, teacher_stages):
        student, teacher = pool_to_smaller(student, teacher)
        difference = _attention(student, power, absolute) - _attention(teacher, power, absolute)
        squares = distance == "mean_square"
        values.append(difference.square().mean(dim=1) if squares else torch.linalg.vector_norm(difference, dim=1))
    return weighted_mean(sum_of_stages(values), weight)


def _attention(maps: Tensor, power: float, absolute: bool) -> Tensor:
    """(B, positions) of norm 1; zero where the map is."""
    # The mean instead of the sum, which the norm cancels, keeps wide maps of large values within float32.
    return F.normalize((maps.abs() if absolute else maps).pow(power).mean(dim=1).flatten(1), dim=1)


class AT(DistillationLoss):
    """`at` as a module."""

    options_type = ATOptions
    power: float
    distance: Literal["mean_square", "norm"]
    absolute: bool

    def forward(self, student_stages: Stages, teacher_stages: Stages, weight: Tensor | None = None) -> Tensor:
        """See `at`."""
        return at(
            student_stages,
            teacher_stages,
            weight,
            power=self.power,
            distance=self.distance,
            absolute=self.absolute,
        )
