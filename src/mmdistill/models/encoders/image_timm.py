"""Any image model of timm as an encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mmdistill.errors import InputError, nearest, require
from mmdistill.models.encoders.backbone import Backbone
from mmdistill.models.encoders.catalog import TimmOptions
from mmdistill.models.encoders.encoded import Encoded
from mmdistill.models.encoders.image_input import image_shape, pixel_statistics, standardise_pixels
from mmdistill.models.encoders.pretrained_pixels import channel_statistics

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


class ImageTimm(nn.Module):
    """A timm model without its classifier; its normalisation layers are its own.

    Batch normalisation, where the model has it, sees absent rows as well: prefer frozen ones, or models with layer
    normalisation, when many images are missing.

    Args:
        info: an image feature.
        options: see `TimmOptions`.

    Raises:
        InputError: when timm has no such model, the weights cannot be read, or it cannot take images of this size.
        MissingExtra: when timm is not installed.
    """

    def __init__(self, info: FeatureInfo, options: TimmOptions) -> None:
        super().__init__()
        where = f"column {info.column!r}, encoder timm"
        network = _network(info, options, where)
        channels = image_shape(info)[0]
        own = options.pretrained or options.weights is not None
        default = (network.pretrained_cfg["mean"], network.pretrained_cfg["std"]) if own else pixel_statistics(info)
        self.mean = channel_statistics(options.mean or default[0], channels)
        self.std = channel_statistics(options.std or default[1], channels)
        self.options = options
        self.standardise = standardise_pixels(self.mean, self.std)
        self.dim = int(getattr(network, "head_hidden_size", None) or network.num_features)
        self.channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
        self.prefix = int(getattr(network, "num_prefix_tokens", 0))
        self.backbone = Backbone(network, options.frozen)

    def portable(self) -> dict[str, Any]:
        """The options that build the same architecture again without any file or download."""
        return self.options.model_dump() | {"pretrained": False, "weights": None, "mean": self.mean, "std": self.std}

    def forward(self, arrays: Mapping[str, Tensor]) -> Encoded:
        """`values` (B, C, H, W) to an embedding (B, dim) and, where the model has them, tokens and maps.

        Tokens are handed over when they are as wide as the embedding; a model with a layer after its pooling has none.
        """
        network = self.backbone.network
        with self.backbone.gradients():
            features = network.forward_features(self.standardise(arrays["values"]))  # type: ignore[operator]
            embedding = network.forward_head(features, pre_logits=True)  # type: ignore[operator]
        maps = None
        if features.ndim == 4:
            maps = features.movedim(-1, 1) if self.channels_last else features
            tokens = maps.flatten(2).transpose(1, 2)
        else:
            tokens = features[:, self.prefix :]
        return Encoded(embedding, tokens if tokens.shape[-1] == self.dim else None, None, maps)


def _network(info: FeatureInfo, options: TimmOptions, where: str) -> Any:
    timm = require("timm", "backbones", "The image encoder 'timm'")
    if not timm.is_model(options.model):
        known = timm.list_models()
        raise InputError(f"timm has no model named {options.model!r}", where=where, fix=_near(options.model, known))
    channels, height, width = image_shape(info)
    arguments: dict[str, Any] = {"in_chans": channels, "num_classes": 0, "pretrained": options.pretrained}
    if timm.get_pretrained_cfg(options.model).fixed_input_size:
        arguments["img_size"] = (height, width)
    try:
        if options.weights is None:
            return timm.create_model(options.model, **arguments)
        return _with_weights(timm, options.model, _weights(options.weights, where), arguments)
    except (RuntimeError, ValueError, AssertionError, OSError, SafetensorError) as error:
        raise InputError(
            f"timm cannot build {options.model} for images of {height}x{width} pixels and {channels} channels: {error}",
            where=where,
            fix="Choose another image size for the column, other weights, or another model",
        ) from error


def _with_weights(timm: ModuleType, model: str, file: Path, arguments: dict[str, Any]) -> Any:
    """The model with a file's weights, and without the classifier that the file may hold.

    It is built with as many classes as the file has: as soon as their number differs, timm skips over whatever does not
    fit, and the weights of another model would go unnoticed.
    """
    classifier = timm.get_pretrained_cfg(model).classifier
    key = f"{classifier[0] if isinstance(classifier, tuple | list) else classifier}.weight"
    with safe_open(file, framework="pt") as content:
        classes = content.get_slice(key).get_shape()[0] if key in content.keys() else 0  # noqa: SIM118
    overlay = {"file": str(file), "num_classes": classes}
    loaded = arguments | {"pretrained": True, "num_classes": classes, "pretrained_cfg_overlay": overlay}
    network = timm.create_model(model, **loaded)
    network.reset_classifier(0)
    return network


def _near(model: str, known: list[str]) -> str:
    hint = nearest(model, known)
    return hint if hint.startswith("Did") else "See timm.list_models()"


def _weights(path: str, where: str) -> Path:
    file = Path(path).expanduser()
    if file.suffix != ".safetensors":
        raise InputError(
            f"{path} is not a .safetensors file, the only format whose weights are read",
            where=where,
            fix="Convert it with safetensors.torch.save_file",
        )
    if not file.is_file():
        raise InputError(f"There is no file {path}", where=where, fix="Check the path of `weights`")
    return file
