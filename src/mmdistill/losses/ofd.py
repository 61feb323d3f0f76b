"""Overhaul of feature distillation: margin ReLU on the teacher, partial L2 distance.

Heo, Kim, Yun, Park, Kwak, Choi, "A Comprehensive Overhaul of Feature Distillation", ICCV 2019, arXiv:1904.01866,
equations 2 to 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, Self

import torch
from torch import Tensor, nn

from mmdistill.errors import InputError
from mmdistill.losses.connector import connect, make_connectors
from mmdistill.losses.families.maps import OFDOptions
from mmdistill.losses.module import DistillationLoss, Shape
from mmdistill.losses.parts import require_built
from mmdistill.losses.pooling import pool_to_smaller
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.stages import Stages, pair_stages, paired_shapes, reduce_elements, sum_of_stages


def ofd(
    student_stages: Stages,
    teacher_stages: Stages,
    margins: Sequence[Tensor],
    weight: Tensor | None = None,
    *,
    stage_decay: float = 0.5,
    reduction: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """Partial squared distance to the teacher's margin ReLU, added up over stages, averaged over rows.

    The target is max(teacher, margin of the channel). An element is (student − target)², and 0 where student ≤ target
    ≤ 0, both being silenced by the ReLU that follows. The paper and both implementations at hand add the elements of a
    row up; the authors' script then divides by the batch and by 1000. ``reduction="mean"`` averages over the elements.
    The larger of two maps is average-pooled to the size of the smaller (mdistiller).

    Args:
        student_stages: maps (B, C, *positions) before the ReLU, after the connectors, shallow to deep; a lone tensor is
            one stage.
        teacher_stages: as many of the same channels, before the ReLU; receive no gradient.
        margins: one a stage, (C,), not positive; see `batch_norm_margin`.
        weight: (B,) weight of each row, not negative.
        stage_decay: from above 0 to 1, the weight of a stage relative to the next deeper one.
        reduction: over the elements of a row.

    Returns:
        A scalar, at least 0, and 0 where every element is at its target or may be anything. Typical weight: 0.001 with
        ``sum``, 1 with ``mean``.

    Raises:
        InputError: when the stages, or the margins, do not belong together.
    """
    pairs = pair_stages(student_stages, teacher_stages, equal_widths=True)
    _check_margins(margins, [teacher.shape[1] for _, teacher in pairs])
    values = []
    for (student, teacher), margin in zip(pairs, margins, strict=True):
        student, teacher = pool_to_smaller(student, teacher)
        target = torch.maximum(teacher, margin.to(teacher).view(1, -1, *[1] * (teacher.dim() - 2)))
        silent = (student <= target) & (target <= 0)
        values.append(reduce_elements((student - target).square().masked_fill(silent, 0), reduction))
    return weighted_mean(sum_of_stages(values, stage_decay), weight)


def batch_norm_margin(weight: Tensor, bias: Tensor) -> Tensor:
    """The expected negative response of each channel after batch normalisation, in closed form.

    A channel is taken as normal, with the bias as its mean and |weight| as its deviation. A channel that is negative
    with a probability of at most 0.001 gets −3 deviations, as in the authors' code.

    Args:
        weight: (C,), of the teacher's batch normalisation before the ReLU.
        bias: (C,), of the same.

    Returns:
        (C,) margins, none positive, in the precision of `bias`.
    """
    deviation, mean = weight.detach().double().abs().clamp(min=1e-12), bias.detach().double()
    negative = torch.special.ndtr(-mean / deviation)
    density = torch.exp(-0.5 * (mean / deviation).square()) / math.sqrt(2 * math.pi)
    expected = mean - deviation * density / negative
    return torch.where(negative > 0.001, expected, -3 * deviation).to(bias.dtype)


class Margin(nn.Module):
    """The margin of a teacher's stage, given or learnt from the maps that pass.

    Learnt, it is the mean of all negative responses of a channel so far, which the paper names as the other way to get
    it; 0 for a channel that has none.

    Args:
        channels: of the teacher's maps.
        given: (C,) margin that stays as it is.
    """

    value: Tensor
    count: Tensor
    fixed: Tensor

    def __init__(self, channels: int, given: Tensor | None = None) -> None:
        super().__init__()
        value = torch.zeros(channels) if given is None else given.detach().clone().float()
        self.register_buffer("value", value)
        self.register_buffer("count", torch.zeros(channels, dtype=torch.int64))
        # A buffer, so that a saved loss keeps the margins that it was given.
        self.register_buffer("fixed", torch.tensor(given is not None))

    @torch.no_grad()
    def forward(self, maps: Tensor, weight: Tensor | None) -> Tensor:
        """The margin (C,), after the rows of `maps` (B, C, *positions) with weight were counted in training."""
        if self.training:
            negative = maps < 0
            if weight is not None:
                negative = negative & (weight > 0).view(-1, *[1] * (maps.dim() - 1))
            over = [axis for axis in range(maps.dim()) if axis != 1]
            seen = negative.sum(dim=over) * ~self.fixed
            total = maps.masked_fill(~negative, 0).sum(dim=over)
            self.count += seen
            step = (total - seen * self.value) / self.count.clamp(min=1)
            self.value += torch.where(seen > 0, step, 0).to(self.value.dtype)
        return self.value.clone()


class OFD(DistillationLoss):
    """`ofd` as a module, with the paper's connectors on the student's stages and the teacher's margins."""

    options_type = OFDOptions
    stage_decay: float
    reduction: Literal["sum", "mean"]
    connectors: nn.ModuleList
    margins: nn.ModuleList

    def build(
        self,
        shapes: Mapping[str, Shape | tuple[Shape, ...]],
        *,
        rows: Tensor | None = None,
        targets: Tensor | None = None,
        seed: int = 0,
        margins: Sequence[Tensor] | None = None,
    ) -> Self:
        """Make connectors and margins; see `DistillationLoss.build`.

        Args:
            shapes: of ``student_stages`` and ``teacher_stages``.
            rows: not used.
            targets: not used.
            seed: of the connectors' first weights.
            margins: one a stage, (C,), such as `batch_norm_margin` gives; learnt from the teacher's maps when left out.

        Raises:
            InputError: when shapes or margins do not fit.
        """
        super().build(shapes, rows=rows, targets=targets, seed=seed)
        if margins is not None:
            widths = [outputs for (_, outputs), _ in paired_shapes(shapes)]
            _check_margins(margins, widths)
            self.margins = nn.ModuleList(map(Margin, widths, margins))
        return self

    def make_parts(
        self,
        shapes: Mapping[str, Shape | tuple[Shape, ...]],
        *,
        rows: Tensor | None,  # noqa: ARG002 (the signature of every loss with parts)
        targets: Tensor | None,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> None:
        """One connector and one margin a stage."""
        self.connectors = make_connectors(shapes)
        self.margins = nn.ModuleList(Margin(outputs) for (_, outputs), _ in paired_shapes(shapes))

    @without_autocast
    def forward(self, student_stages: Stages, teacher_stages: Stages, weight: Tensor | None = None) -> Tensor:
        """See `ofd`; the student's stages as they are before the connectors."""
        require_built(self, "connectors")
        student, teacher = zip(*pair_stages(student_stages, teacher_stages), strict=True)
        connected = connect(self.connectors, student, weight)
        margins = [margin(maps, weight) for margin, maps in zip(self.margins, teacher, strict=True)]
        return ofd(connected, teacher, margins, weight, stage_decay=self.stage_decay, reduction=self.reduction)


def _check_margins(margins: Sequence[Tensor], widths: Sequence[int]) -> None:
    found = [tuple(margin.shape) for margin in margins]
    if found != [(width,) for width in widths]:
        raise InputError(f"The margins have shapes {found}, but the teacher's stages have {list(widths)} channels")
