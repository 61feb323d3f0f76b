"""What an array goes through on its way into a module that was not made for this library's features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from mmdistill.models.encoders.image_input import standardise_pixels
from mmdistill.models.encoders.pretrained_pixels import with_channels
from mmdistill.models.masking import sequence_mask

Statistics: TypeAlias = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of pixels / 255, one a channel or one for all."""


class Pixels(nn.Module):
    """Pixels from 0 to 255 to ``(pixels / 255 - mean) / std``.

    Args:
        statistics: mean and standard deviation; with (0, 1) pixels come out from 0 to 1.
        channels: that the module reads; grey pixels are repeated. As many as there are when None.
    """

    def __init__(self, statistics: Statistics = ((0.0,), (1.0,)), channels: int | None = None) -> None:
        super().__init__()
        self.mean, self.std = ([float(value) for value in each] for each in statistics)
        self.standardise, self.channels = standardise_pixels(self.mean, self.std), channels

    def forward(self, values: Tensor, arrays: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        """(B, C, H, W) of any type to floats."""
        pixels: Tensor = self.standardise(values)
        return pixels if self.channels is None else with_channels(pixels, self.channels)


class PaddedIds(nn.Module):
    """Token ids with a model's own padding id behind the end of each row.

    Args:
        pad: the id.
    """

    def __init__(self, pad: int) -> None:
        super().__init__()
        self.pad = pad

    def forward(self, values: Tensor, arrays: Mapping[str, Tensor]) -> Tensor:
        """int64 (B, L)."""
        return values.masked_fill(~sequence_mask(arrays), self.pad)


class AttendedMask(nn.Module):
    """A mask as transformers take it: 1 and 0, and an empty row attends to its first padding, so that no softmax is
    over nothing."""

    def forward(self, values: Tensor, arrays: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        """Bool (B, L) to int64."""
        first = torch.arange(values.shape[1], device=values.device) == 0
        return (values | first).long()
