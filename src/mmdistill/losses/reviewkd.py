"""Knowledge review: the student's fused stages against the teacher's, at several scales.

Chen, Liu, Zhao, Jia, "Distilling Knowledge via Knowledge Review", CVPR 2021, arXiv:2104.09044, sections 3.2 to 3.4.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.losses.batch_norm import WeightedBatchNorm
from mmdistill.losses.convolution import convolution
from mmdistill.losses.families.maps import ReviewKDOptions
from mmdistill.losses.module import DistillationLoss, Shape
from mmdistill.losses.parts import require_built
from mmdistill.losses.pooling import pool_to
from mmdistill.losses.precision import widen, without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.stages import (
    Stages,
    as_stages,
    check_stage_count,
    pair_stages,
    paired_shapes,
    reduce_elements,
    sum_of_stages,
)

LEVELS = (4, 2, 1)
"""Sides of the pooled maps that are compared beside the whole map, in the paper."""


def reviewkd(student_stages: Stages, teacher_stages: Stages, weight: Tensor | None = None) -> Tensor:
    """The hierarchical context loss, added up over stages and averaged over rows.

    A stage's value is the mean squared error of the maps and of their average pools to 4, 2 and 1 positions an axis,
    each level weighted half of the one before, over the sum of these weights. A level that is no smaller than the map
    is left out.

    Args:
        student_stages: maps (B, C, *positions) from the fusion, shallow to deep; a lone tensor is one stage.
        teacher_stages: as many maps of the same shapes; receive no gradient.
        weight: (B,) weight of each row, not negative.

    Returns:
        A scalar, at least 0, and 0 where all stages agree. Typical weight: 1 (0.6 to 8), warmed up linearly over the
        first 20 epochs.

    Raises:
        InputError: when the stages do not belong together.
    """
    pairs = pair_stages(student_stages, teacher_stages, equal_widths=True, equal_sizes=True)
    return weighted_mean(sum_of_stages([_hierarchical_context(*pair) for pair in pairs]), weight)


def _hierarchical_context(student: Tensor, teacher: Tensor) -> Tensor:
    """The value of each row, (B,)."""
    sides = student.shape[2:]
    difference = student - teacher
    value, share, total = reduce_elements(difference.square(), "mean"), 1.0, 1.0
    for level in LEVELS:
        if level < min(sides):
            # Pooling is linear: the pooled difference is the difference of the pooled.
            pooled = pool_to(difference, [level] * len(sides))
            share /= 2
            value = value + share * reduce_elements(pooled.square(), "mean")
            total += share
    return value / total


class AttentionBasedFusion(nn.Module):
    """A stage of the student fused with what the deeper stages gave.

    Args:
        axes: number of axes of positions.
        inputs: channels of the student's stage.
        width: channels that are handed on from stage to stage.
        outputs: channels of the teacher's stage.
        fuses: whether there is a deeper stage.
    """

    def __init__(self, axes: int, inputs: int, width: int, outputs: int, fuses: bool) -> None:
        super().__init__()
        self.reduce = convolution(axes, inputs, width, 1, bias=False)
        self.reduce_normalisation = WeightedBatchNorm(width)
        self.expand = convolution(axes, width, outputs, 3, bias=False)
        self.expand_normalisation = WeightedBatchNorm(outputs)
        if fuses:
            self.attention = convolution(axes, 2 * width, 2, 1)
        for layer in (self.reduce, self.expand):
            assert isinstance(layer.weight, Tensor)
            nn.init.kaiming_uniform_(layer.weight, a=1)

    def forward(
        self, maps: Tensor, deeper: Tensor | None, size: torch.Size, weight: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What is compared with the teacher, and what is handed on.

        Args:
            maps: (B, inputs, *positions).
            deeper: (B, width, *positions) handed on from the deeper stage.
            size: positions of the teacher's stage.
            weight: (B,) weight of the rows.

        Returns:
            (B, outputs, *size) and (B, width, *size).
        """
        fused = self.reduce_normalisation(self.reduce(maps), weight)
        if deeper is not None:
            deeper = F.interpolate(deeper, size=fused.shape[2:], mode="nearest")
            shares = torch.sigmoid(self.attention(torch.cat((fused, deeper), dim=1)))
            fused = fused * shares[:, :1] + deeper * shares[:, 1:]
        if fused.shape[2:] != size:
            fused = F.interpolate(fused, size=size, mode="nearest")
        return self.expand_normalisation(self.expand(fused), weight), fused


class ReviewKD(DistillationLoss):
    """`reviewkd` as a module, with the paper's fusion of the student's stages from deep to shallow.

    The pooled features (B, C) of both sides may be the last stage, as in the paper; they count as maps of one position.
    """

    options_type = ReviewKDOptions
    width: int
    fusions: nn.ModuleList

    def make_parts(
        self,
        shapes: Mapping[str, Shape | tuple[Shape, ...]],
        *,
        rows: Tensor | None,  # noqa: ARG002 (the signature of every loss with parts)
        targets: Tensor | None,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> None:
        """One fusion a stage, in the order of the stages; all hand on the same number of channels."""
        pairs = paired_shapes(_with_positions(shapes))
        width = min(self.width, pairs[-1][0][0])
        self.fusions = nn.ModuleList(
            AttentionBasedFusion(axes, inputs, width, outputs, fuses=i < len(pairs) - 1)
            for i, ((inputs, outputs), axes) in enumerate(pairs)
        )

    @without_autocast
    def forward(self, student_stages: Stages, teacher_stages: Stages, weight: Tensor | None = None) -> Tensor:
        """See `reviewkd`; the student's stages as they are before the fusion."""
        require_built(self, "fusions")
        sides = (as_stages(student_stages), as_stages(teacher_stages))
        axes = max((maps.dim() - 2 for side in sides for maps in side), default=0)
        student, teacher = ([_as_map(widen(maps), axes) for maps in side] for side in sides)
        pairs = pair_stages(student, teacher)
        check_stage_count(len(pairs), len(self.fusions))
        fused: list[Tensor] = []
        handed: Tensor | None = None
        for fusion, (ours, theirs) in zip(reversed(self.fusions), reversed(pairs), strict=True):
            compared, handed = fusion(ours, handed, theirs.shape[2:], weight)
            fused.insert(0, compared)
        return reviewkd(fused, teacher, weight)


def _as_map(maps: Tensor, axes: int) -> Tensor:
    """Pooled features (B, C) as a map of one position; maps as they are."""
    return maps.view(*maps.shape, *[1] * axes) if maps.dim() == 2 else maps


def _with_positions(shapes: Mapping[str, Shape | tuple[Shape, ...]]) -> dict[str, Shape | tuple[Shape, ...]]:
    """The shapes with pooled features (C,) as maps of one position."""
    stages = {name: shape for name, shape in shapes.items() if all(isinstance(one, tuple) for one in shape)}
    axes = max((len(one) - 1 for shape in stages.values() for one in shape if isinstance(one, tuple)), default=0)

    def completed(shape: Shape | tuple[Shape, ...]) -> tuple[Shape, ...]:
        return tuple((*one, *[1] * axes) if len(one) == 1 else one for one in shape if isinstance(one, tuple))

    return {name: completed(shape) if name in stages else shape for name, shape in shapes.items()}
