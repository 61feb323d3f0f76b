"""Compact residual network for small and middle-sized images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.models.encoders.catalog import ImageResnetOptions
from mmdistill.models.encoders.encoded import Encoded, encoded_maps
from mmdistill.models.encoders.image_input import ImageInput, pool_for
from mmdistill.models.layers.norms import group_norm
from mmdistill.models.layers.stages import run_stages

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions added to their input (He et al., "Deep Residual Learning", 2016, the basic block).

    Args:
        channels: of the input.
        width: of the output.
        stride: of the first convolution; the input is averaged and projected where shapes differ.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.first_norm = group_norm(width)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.second_norm = group_norm(width)
        self.shortcut = _shortcut(channels, width, stride)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, width, H / stride, W / stride)."""
        inner = F.relu(self.first_norm(self.first(maps)))
        return F.relu(self.second_norm(self.second(inner)) + self.shortcut(maps))


def _shortcut(channels: int, width: int, stride: int) -> nn.Module:
    if channels == width and stride == 1:
        return nn.Identity()
    pool = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False) if stride > 1 else nn.Identity()
    return nn.Sequential(pool, nn.Conv2d(channels, width, 1, bias=False), group_norm(width))


def stem(channels: int, width: int, size: int) -> nn.Sequential:
    """The first layers, which bring the larger side near 14 to 32 pixels up to 64, and to a quarter beyond.

    Up to 16 pixels nothing is thrown away (the CIFAR stem); up to 64 one stride of 2; beyond, the 7x7 stride 2 and
    pooling of the original network.

    Args:
        channels: of the image.
        width: of the output.
        size: the larger side in pixels.
    """
    kernel, stride = (3, 1) if size <= 16 else (3, 2) if size <= 64 else (7, 2)
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False),
        group_norm(width),
        nn.ReLU(),
    ]
    if size > 64:
        layers.append(nn.MaxPool2d(3, 2, 1))
    return nn.Sequential(*layers)


class ImageResnet(nn.Module):
    """A stem chosen by the image size, then stages of residual blocks, each stage at half the resolution.

    Args:
        info: an image feature.
        options: see `ImageResnetOptions`.
    """

    def __init__(self, info: FeatureInfo, options: ImageResnetOptions) -> None:
        super().__init__()
        self.input = ImageInput(info)
        channels = options.widths[0]
        blocks: list[nn.Module] = []
        for stage, width in enumerate(options.widths):
            for block in range(options.blocks):
                blocks.append(ResidualBlock(channels, width, 2 if stage and not block else 1))
                channels = width
        self.dim, self.blocks = channels, options.blocks
        self.stem = stem(self.input.channels, options.widths[0], max(self.input.height, self.input.width))
        self.stages = nn.Sequential(*blocks)
        self.pool = pool_for(nn.Sequential(self.stem, self.stages), self.input, options)
        self.to(memory_format=torch.channels_last)

    def forward(self, arrays: Mapping[str, Tensor]) -> Encoded:
        """`values` (B, C, H, W) to an embedding (B, dim), tokens (B, H'·W', dim), maps (B, dim, H', W') and stages."""
        stages = run_stages(self.stages, self.stem(self.input(arrays)), self.blocks)
        return encoded_maps(self.pool(stages[-1]), stages[-1], stages)
