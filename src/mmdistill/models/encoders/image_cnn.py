"""Plain convolutional image encoder: the `tiny_cnn` and `cnn` of the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmdistill.models.encoders.catalog import ImageCnnOptions
from mmdistill.models.encoders.encoded import Encoded, encoded_maps
from mmdistill.models.encoders.image_input import ImageInput, pool_for
from mmdistill.models.layers.norms import group_norm
from mmdistill.models.layers.stages import run_stages

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo

LAYERS_OF_A_STAGE = 3
"""Convolution, norm and ReLU."""


class ImageCnn(nn.Module):
    """3x3 convolutions of stride 2, each followed by GroupNorm and ReLU and twice as wide as the one before.

    Args:
        info: an image feature.
        options: see `ImageCnnOptions`.
    """

    def __init__(self, info: FeatureInfo, options: ImageCnnOptions) -> None:
        super().__init__()
        self.input = ImageInput(info)
        layers: list[nn.Module] = []
        channels = self.input.channels
        for stage in range(options.depth):
            width = options.width * 2**stage
            layers += [nn.Conv2d(channels, width, 3, 2, 1, bias=options.bias), group_norm(width), nn.ReLU()]
            channels = width
        self.dim = channels
        self.layers = nn.Sequential(*layers)
        self.pool = pool_for(self.layers, self.input, options)
        self.to(memory_format=torch.channels_last)

    def forward(self, arrays: Mapping[str, Tensor]) -> Encoded:
        """`values` (B, C, H, W) to an embedding (B, dim), tokens (B, H'·W', dim), maps (B, dim, H', W') and stages."""
        stages = run_stages(self.layers, self.input(arrays), LAYERS_OF_A_STAGE)
        return encoded_maps(self.pool(stages[-1]), stages[-1], stages)
