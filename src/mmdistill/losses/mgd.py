"""Masked generative distillation: the teacher's whole map is generated from a part of the student's.

Yang, Li, Shao, Shi, Yuan, Yuan, "Masked Generative Distillation", ECCV 2022, arXiv:2205.01529, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from mmdistill.data.views import derive, keys_from, uniform_from
from mmdistill.losses.convolution import convolution
from mmdistill.losses.families.maps import MGDOptions
from mmdistill.losses.module import DistillationLoss, Shape
from mmdistill.losses.parts import require_built
from mmdistill.losses.precision import widen, without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.stages import check_maps, paired_shape, reduce_elements


@without_autocast
def mgd(
    student_maps: Tensor,
    teacher_maps: Tensor,
    kept: Tensor,
    generate: Callable[[Tensor], Tensor],
    weight: Tensor | None = None,
    *,
    reduction: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """Squared error of generate(student · kept) against the teacher's map, averaged over rows.

    The paper and the authors' code add the elements of a row up, so the loss grows with the map; ``reduction="mean"``
    averages instead. The paper's 1×1 convolution between unequal widths is the objective's adapter.

    Args:
        student_maps: (B, C, *positions).
        teacher_maps: the same shape; receives no gradient.
        kept: true, or 1, where the student's map is seen; of a shape that expands to the map's.
        generate: (B, C, *positions) → the same shape; the learned generation block.
        weight: (B,) weight of each row, not negative.
        reduction: over the elements of a row.

    Returns:
        A scalar, at least 0, and 0 where the teacher's map is generated exactly. Typical weight: 7e-5 (classification)
        or 2e-5 (dense prediction) with ``sum``, 1 with ``mean``.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_maps(student_maps, teacher_maps, equal_widths=True, equal_sizes=True)
    student = widen(student_maps)
    generated = generate(student * kept.to(student.dtype))
    return weighted_mean(reduce_elements((generated - widen(teacher_maps.detach())).square(), reduction), weight)


class MGD(DistillationLoss):
    """`mgd` as a module, with the paper's generation block: 3×3 convolution, ReLU, 3×3 convolution.

    What is masked is drawn anew at every step of training, from the seed of `build`, the step and the row's number
    alone, so that it does not depend on the batch, the device or an interruption.
    """

    options_type = MGDOptions
    ratio: float
    masks: Literal["positions", "channels"]
    reduction: Literal["sum", "mean"]
    generation: nn.Sequential
    step: Tensor

    def make_parts(
        self,
        shapes: Mapping[str, Shape | tuple[Shape, ...]],
        *,
        rows: Tensor | None,  # noqa: ARG002 (the signature of every loss with parts)
        targets: Tensor | None,  # noqa: ARG002
        seed: int,
    ) -> None:
        """The generation block, and the count of steps that the masks depend on."""
        (_, channels), axes = paired_shape(shapes)
        first, second = (convolution(axes, channels, channels, 3) for _ in range(2))
        self.generation = nn.Sequential(first, nn.ReLU(), second)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self._stream = derive(seed, "mgd")

    @without_autocast
    def forward(self, student_maps: Tensor, teacher_maps: Tensor, row: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `mgd`; `row` is int64 (B,), the numbers of the rows."""
        require_built(self, "generation")
        kept = self._kept(row, student_maps)
        return mgd(student_maps, teacher_maps, kept, self.generation, weight, reduction=self.reduction)

    @torch.no_grad()
    def _kept(self, row: Tensor, maps: Tensor) -> Tensor:
        """Where the student's map is seen: (B, 1, *positions), or (B, C, 1…) when channels are masked."""
        shape = maps.shape[1:]
        drawn = (1, *shape[1:]) if self.masks == "positions" else (shape[0], *[1] * len(shape[1:]))
        key = keys_from(self._stream, row, self.step)
        if self.training:
            self.step += 1
        return uniform_from(key, drawn) >= self.ratio
