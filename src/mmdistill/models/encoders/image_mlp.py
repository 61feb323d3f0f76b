"""Fully connected image encoder: the textbook network on flattened pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mmdistill.models.encoders.catalog import ImageMlpOptions
from mmdistill.models.encoders.encoded import Encoded
from mmdistill.models.encoders.image_input import image_shape, pixel_statistics, standardise_pixels
from mmdistill.models.layers.mlp import mlp

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


class ImageMlp(nn.Module):
    """Standardised, flattened pixels through Linear and ReLU layers, and nothing else.

    With `hidden: [512, 256]`, 28x28 grey pixels and ten classes the model is exactly 784-512-256-10.

    Args:
        info: an image feature.
        options: see `ImageMlpOptions`.
    """

    def __init__(self, info: FeatureInfo, options: ImageMlpOptions) -> None:
        super().__init__()
        channels, height, width = image_shape(info)
        self.dim = options.hidden[-1]
        self.standardise = standardise_pixels(*pixel_statistics(info))
        self.layers = mlp(channels * height * width, options.hidden, options.dropout)

    def forward(self, arrays: Mapping[str, Tensor]) -> Encoded:
        """`values` (B, C, H, W) to an embedding (B, dim)."""
        return Encoded(self.layers(self.standardise(arrays["values"]).flatten(1)))
