"""Pixels become network input: standardised on the device by the statistics of the training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mmdistill.models.layers.grid_pool import GridPool
from mmdistill.models.layers.standardise import Standardise, statistics

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo
    from mmdistill.models.encoders.catalog import MapsOptions


class ImageInput(nn.Module):
    """(B, C, H, W) pixels from 0 to 255, uint8 or float, to standardised floats in channels_last memory.

    oneDNN and cuDNN convolve fastest in channels_last; every layer after this one keeps that format.

    Args:
        info: an image feature; `state` holds `mean` and `std` of its pixels (0 to 255), one a channel.
    """

    def __init__(self, info: FeatureInfo) -> None:
        super().__init__()
        self.channels, self.height, self.width = image_shape(info)
        self.standardise = standardise_pixels(*pixel_statistics(info))

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """The image feature's arrays to standardised pixels (B, C, H, W)."""
        return self.standardise(arrays["values"]).contiguous(memory_format=torch.channels_last)


def pool_for(network: nn.Module, pixels: ImageInput, options: MapsOptions) -> GridPool:
    """The pooling for what a network makes of these pixels, whose shape is found by trying."""
    with torch.no_grad():
        maps = network(torch.zeros(1, pixels.channels, pixels.height, pixels.width))
    return GridPool(maps.shape[1], (maps.shape[2], maps.shape[3]), options.grid, options.dropout, options.pool)


def image_shape(info: FeatureInfo) -> tuple[int, int, int]:
    """Channels, height and width of an image feature."""
    channels, height, width = info.arrays["values"].shape
    return channels, height, width


def pixel_statistics(info: FeatureInfo) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of a feature's pixels / 255, one a channel: the unit that vision models state."""
    mean, std = statistics(info.state, 127.5, 127.5)
    channels = info.arrays["values"].shape[0]
    each = [[float(value) / 255 for value in np.broadcast_to(statistic, channels)] for statistic in (mean, std)]
    return each[0], each[1]


def standardise_pixels(mean: Sequence[float] | float, std: Sequence[float] | float) -> Standardise:
    """Standardisation of pixels from 0 to 255 by statistics of pixels / 255, in one multiply-add."""
    centre, spread = (255 * torch.as_tensor(statistic, dtype=torch.float64) for statistic in (mean, std))
    return Standardise(centre, spread, trailing=2)
