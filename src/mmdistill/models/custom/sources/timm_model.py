"""A model of timm, its classifier included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmdistill.data.features import FeatureInfo
from mmdistill.errors import InputError, nearest, require
from mmdistill.models.custom.sources.loaded import Loaded
from mmdistill.models.encoders.image_input import image_shape, pixel_statistics
from mmdistill.models.encoders.pretrained_pixels import channel_statistics
from mmdistill.recipe.custom import CustomSpec


def load_timm(spec: CustomSpec, features: Mapping[str, FeatureInfo], classes: int | None, where: str) -> Loaded:
    """Build a timm model for the images of a run.

    Args:
        spec: names the model; `options` are arguments of ``timm.create_model``.
        features: column → feature; one of them is of images.
        classes: outputs of a classifier whose number the options do not state.
        where: for messages.

    Raises:
        InputError: when timm has no such model, or it cannot be built for these images.
        MissingExtra: when timm is not installed.
    """
    timm = require("timm", "backbones", "A model of timm")
    assert spec.timm is not None
    if not timm.is_model(spec.timm):
        hint = nearest(spec.timm, timm.list_models())
        fix = hint if hint.startswith("Did") else "See timm.list_models()"
        raise InputError(f"timm has no model named {spec.timm!r}", where=f"{where}.timm", fix=fix)
    info = next((info for info in features.values() if info.type == "image"), None)
    arguments: dict[str, Any] = {} if info is None else _for_images(timm, spec.timm, info)
    if spec.head == "none":
        arguments["num_classes"] = 0
    elif classes is not None:
        arguments["num_classes"] = classes
    arguments |= spec.options
    try:
        module = timm.create_model(spec.timm, pretrained=spec.pretrained, **arguments)
    except (RuntimeError, ValueError, AssertionError, TypeError, OSError) as error:
        raise InputError(
            f"timm cannot build {spec.timm} with {arguments}: {error}",
            where=f"{where}.timm",
            fix="Choose other options, another image size for the column, or another model",
        ) from error
    portable = {"options": arguments, "pretrained": False}
    if info is None:
        return Loaded(module, portable=portable)
    own = spec.pretrained or spec.weights is not None
    mean, std = (module.pretrained_cfg["mean"], module.pretrained_cfg["std"]) if own else pixel_statistics(info)
    channels = image_shape(info)[0]
    statistics = channel_statistics(mean, channels), channel_statistics(std, channels)
    return Loaded(module, pixels=statistics, portable=portable)


def _for_images(timm: Any, model: str, info: FeatureInfo) -> dict[str, Any]:
    channels, height, width = image_shape(info)
    fixed = timm.get_pretrained_cfg(model).fixed_input_size
    return {"in_chans": channels} | ({"img_size": (height, width)} if fixed else {})
