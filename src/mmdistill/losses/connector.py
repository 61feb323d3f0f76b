"""The connector of Heo et al.: a 1×1 convolution and batch normalisation that bring a student's maps to a teacher's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mmdistill.losses.batch_norm import WeightedBatchNorm
from mmdistill.losses.convolution import convolution
from mmdistill.losses.module import Shape
from mmdistill.losses.stages import check_stage_count, paired_shapes


class Connector(nn.Module):
    """A 1×1 convolution without bias, then batch normalisation; first weights as the authors draw them.

    Args:
        axes: number of axes of positions.
        inputs: the student's channels.
        outputs: the teacher's channels.
    """

    def __init__(self, axes: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = convolution(axes, inputs, outputs, 1, bias=False)
        self.normalisation = WeightedBatchNorm(outputs)
        weight = self.convolution.weight
        assert isinstance(weight, Tensor)
        torch.nn.init.normal_(weight, std=math.sqrt(2 / outputs))

    def forward(self, maps: Tensor, weight: Tensor | None = None) -> Tensor:
        """(B, inputs, *positions) → (B, outputs, *positions); `weight` (B,) is that of the rows."""
        result: Tensor = self.normalisation(self.convolution(maps), weight)
        return result


def make_connectors(shapes: Mapping[str, Shape | tuple[Shape, ...]]) -> nn.ModuleList:
    """One connector a stage."""
    return nn.ModuleList(Connector(axes, *widths) for widths, axes in paired_shapes(shapes))


def connect(connectors: nn.ModuleList, stages: Sequence[Tensor], weight: Tensor | None) -> list[Tensor]:
    """The student's stages, each through its connector.

    Raises:
        InputError: when there are not as many stages as connectors.
    """
    check_stage_count(len(stages), len(connectors))
    return [connector(maps, weight) for connector, maps in zip(connectors, stages, strict=True)]
