"""Activation boundaries: whether a neuron is active, rather than how strongly.

Heo, Lee, Yun, Choi, "Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden Neurons", AAAI 2019,
arXiv:1811.03233.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from mmdistill.losses.connector import connect, make_connectors
from mmdistill.losses.families.maps import ABOptions
from mmdistill.losses.module import DistillationLoss, Shape
from mmdistill.losses.parts import require_built
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.stages import Stages, pair_stages, reduce_elements, sum_of_stages


def ab(
    student_stages: Stages,
    teacher_stages: Stages,
    weight: Tensor | None = None,
    *,
    margin: float = 1.0,
    stage_decay: float = 0.5,
    reduction: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """Squared hinge on the side of zero that the teacher's response is on, added up over stages, averaged over rows.

    An element is (margin − s)² below the margin where the teacher's response is above 0, and (margin + s)² above
    −margin elsewhere. The paper and both implementations at hand add the elements of a row up; so the loss grows with
    the maps, and the authors' script divides it by 1000 and multiplies it by 3. ``reduction="mean"`` averages instead.

    Args:
        student_stages: responses (B, C, *positions) before the activation, after the connectors, shallow to deep; a
            lone tensor is one stage.
        teacher_stages: as many of the same shapes, before the activation; receive no gradient.
        weight: (B,) weight of each row, not negative.
        margin: above 0; how far from the boundary the student's response has to be.
        stage_decay: from above 0 to 1, the weight of a stage relative to the next deeper one.
        reduction: over the elements of a row.

    Returns:
        A scalar, at least 0, and 0 where every response is on the teacher's side by the margin. Typical weight: 0.003
        with ``sum``, 1 with ``mean``; in the paper a first stage of its own, before the labels.

    Raises:
        InputError: when the stages do not belong together.
    """
    values = []
    for student, teacher in pair_stages(student_stages, teacher_stages, equal_widths=True, equal_sizes=True):
        missing = torch.where(teacher > 0, margin - student, margin + student)
        values.append(reduce_elements(missing.relu().square(), reduction))
    return weighted_mean(sum_of_stages(values, stage_decay), weight)


class AB(DistillationLoss):
    """`ab` as a module, with the paper's connectors on the student's stages."""

    options_type = ABOptions
    margin: float
    stage_decay: float
    reduction: Literal["sum", "mean"]
    connectors: nn.ModuleList

    def make_parts(
        self,
        shapes: Mapping[str, Shape | tuple[Shape, ...]],
        *,
        rows: Tensor | None,  # noqa: ARG002 (the signature of every loss with parts)
        targets: Tensor | None,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> None:
        """One connector a stage."""
        self.connectors = make_connectors(shapes)

    @without_autocast
    def forward(self, student_stages: Stages, teacher_stages: Stages, weight: Tensor | None = None) -> Tensor:
        """See `ab`; the student's stages as they are before the connectors."""
        require_built(self, "connectors")
        student, teacher = zip(*pair_stages(student_stages, teacher_stages), strict=True)
        return ab(
            connect(self.connectors, student, weight),
            teacher,
            weight,
            margin=self.margin,
            stage_decay=self.stage_decay,
            reduction=self.reduction,
        )
