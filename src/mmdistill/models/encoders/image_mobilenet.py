"""Compact MobileNet-style image encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmdistill.models.encoders.catalog import ImageMobilenetOptions
from mmdistill.models.encoders.encoded import Encoded, encoded_maps
from mmdistill.models.encoders.image_input import ImageInput, pool_for
from mmdistill.models.encoders.image_resnet import stem
from mmdistill.models.layers.norms import group_norm
from mmdistill.models.layers.stages import run_stages

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


class InvertedResidual(nn.Module):
    """Widen, filter each channel alone, narrow without ReLU (Sandler et al., "MobileNetV2", 2018).

    ReLU stands for the paper's ReLU6, whose backward pass took a seventh of a step on a CPU.

    Args:
        channels: of the input.
        width: of the output.
        stride: of the depthwise convolution.
        expansion: how much wider the inside is than the input.
    """

    def __init__(self, channels: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.residual = stride == 1 and channels == width
        self.layers = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False),
            group_norm(inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            group_norm(inner),
            nn.ReLU(),
            nn.Conv2d(inner, width, 1, bias=False),
            group_norm(width),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, width, H / stride, W / stride)."""
        return maps + self.layers(maps) if self.residual else self.layers(maps)


class ImageMobilenet(nn.Module):
    """A stem chosen by the image size, stages of inverted residuals, and a last 1x1 convolution.

    Args:
        info: an image feature.
        options: see `ImageMobilenetOptions`.
    """

    def __init__(self, info: FeatureInfo, options: ImageMobilenetOptions) -> None:
        super().__init__()
        self.input = ImageInput(info)
        channels = options.widths[0]
        layers: list[nn.Module] = []
        for stage, width in enumerate(options.widths):
            for block in range(options.blocks):
                stride = 2 if stage and not block else 1
                layers.append(InvertedResidual(channels, width, stride, options.expansion))
                channels = width
        self.dim, self.blocks = options.dim, options.blocks
        self.stem = stem(self.input.channels, options.widths[0], max(self.input.height, self.input.width))
        self.stages = nn.Sequential(*layers)
        self.last = nn.Sequential(nn.Conv2d(channels, options.dim, 1, bias=False), group_norm(options.dim), nn.ReLU())
        network = nn.Sequential(self.stem, self.stages, self.last)
        self.pool = pool_for(network, self.input, options)
        self.to(memory_format=torch.channels_last)

    def forward(self, arrays: Mapping[str, Tensor]) -> Encoded:
        """`values` (B, C, H, W) to an embedding (B, dim), tokens (B, H'·W', dim), maps (B, dim, H', W') and stages."""
        stages = run_stages(self.stages, self.stem(self.input(arrays)), self.blocks)
        maps = self.last(stages[-1])
        return encoded_maps(self.pool(maps), maps, stages)
