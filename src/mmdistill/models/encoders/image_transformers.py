"""Any image encoder of transformers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from mmdistill.errors import require
from mmdistill.models.encoders.backbone import Backbone
from mmdistill.models.encoders.catalog import ImageTransformersOptions
from mmdistill.models.encoders.encoded import Encoded
from mmdistill.models.encoders.image_input import image_shape, pixel_statistics, standardise_pixels
from mmdistill.models.encoders.pretrained_pixels import channel_statistics, with_channels
from mmdistill.models.encoders.transformers_model import hidden_size, load_config, load_network, plain_config

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


class ImageTransformers(nn.Module):
    """A transformers image encoder; the embedding is the mean of its tokens, or the first one.

    Args:
        info: an image feature.
        options: see `ImageTransformersOptions`.

    Raises:
        InputError: when the model cannot be had.
        MissingExtra: when transformers is not installed.
    """

    def __init__(self, info: FeatureInfo, options: ImageTransformersOptions) -> None:
        super().__init__()
        where = f"column {info.column!r}, encoder transformers"
        channels, height, width = image_shape(info)
        config = load_config(options, where)
        stated = options.config or {}
        if not options.pretrained:
            adapt(config, stated, channels, (height, width))
        mean, std = own_statistics(options.model) if options.pretrained else pixel_statistics(info)
        self.mean = channel_statistics(options.mean or mean, channels)
        self.std = channel_statistics(options.std or std, channels)
        self.options, self.config = options, config
        self.channels = int(getattr(config, "num_channels", channels))
        self.dim = hidden_size(config)
        self.standardise = standardise_pixels(self.mean, self.std)
        network = load_network(options, config, where)
        self.arguments = _interpolation(network, config, (height, width))
        self.backbone = Backbone(network, options.frozen)

    def portable(self) -> dict[str, Any]:
        """The options that build the same architecture again without any file or download."""
        own = {
            "model": None,
            "pretrained": False,
            "config": plain_config(self.config),
            "mean": self.mean,
            "std": self.std,
        }
        return self.options.model_dump() | own

    def forward(self, arrays: Mapping[str, Tensor]) -> Encoded:
        """`values` (B, C, H, W) to an embedding (B, dim), tokens (B, L, dim) and, from convolutions, maps."""
        pixels = with_channels(self.standardise(arrays["values"]), self.channels)
        with self.backbone.gradients():
            last = self.backbone.network(pixel_values=pixels, **self.arguments).last_hidden_state
        maps = last if last.ndim == 4 else None
        tokens = last if maps is None else maps.flatten(2).transpose(1, 2)
        embedding = tokens.mean(1) if self.options.pool == "mean" or maps is not None else tokens[:, 0]
        return Encoded(embedding, tokens, None, maps)


def adapt(config: Any, stated: Mapping[str, Any], channels: int, size: tuple[int, int]) -> None:
    """Make a model without weights fit the column, where the user's configuration does not say otherwise."""
    if hasattr(config, "num_channels") and "num_channels" not in stated:
        config.num_channels = channels
    if hasattr(config, "image_size") and "image_size" not in stated:
        config.image_size = size[0] if size[0] == size[1] else list(size)


def _interpolation(network: nn.Module, config: Any, size: tuple[int, int]) -> dict[str, bool]:
    """Positions are interpolated when the model was made for another size and can do so."""
    made_for = getattr(config, "image_size", None)
    pair = (made_for, made_for) if isinstance(made_for, int) else tuple(made_for or ())
    takes = "interpolate_pos_encoding" in inspect.signature(network.forward).parameters
    return {"interpolate_pos_encoding": True} if takes and pair and pair != size else {}


def own_statistics(model: str | None) -> tuple[list[float], list[float]]:
    """The pixel statistics saved beside a pretrained model; those of [-1, 1] when there are none."""
    transformers = require("transformers", "backbones", "The image encoder 'transformers'")
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(model)
    except (OSError, ValueError):
        return [0.5], [0.5]
    return list(processor.image_mean), list(processor.image_std)
