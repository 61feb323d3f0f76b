"""A model of transformers: from a folder, from the hub, or new from a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mmdistill.data.features import FeatureInfo
from mmdistill.errors import InputError, nearest, require
from mmdistill.models.custom.conversions import AttendedMask, PaddedIds, Statistics
from mmdistill.models.custom.sources.loaded import Loaded
from mmdistill.models.encoders.catalog import TransformersOptions
from mmdistill.models.encoders.image_input import image_shape, pixel_statistics
from mmdistill.models.encoders.image_transformers import adapt, own_statistics
from mmdistill.models.encoders.pretrained_pixels import channel_statistics
from mmdistill.models.encoders.text_transformers import check_text
from mmdistill.models.encoders.text_words import vocabulary_size
from mmdistill.models.encoders.transformers_model import first_line, load_config, plain_config
from mmdistill.recipe.custom import CustomSpec

_HEADS = {
    "text": "AutoModelForSequenceClassification",
    "image": "AutoModelForImageClassification",
    "audio": "AutoModelForAudioClassification",
}


def load_transformers(spec: CustomSpec, features: Mapping[str, FeatureInfo], classes: int | None, where: str) -> Loaded:
    """Build a transformers model for the columns of a run.

    A configuration whose class names are not the library's placeholders (``LABEL_0``) keeps its classes and states
    them; any other gets as many as there are.

    Args:
        spec: names the model; `options` are keys of its configuration.
        features: column → feature.
        classes: outputs of a classifier whose number neither options nor configuration state.
        where: for messages.

    Raises:
        InputError: when there is no such model, or it does not fit the columns.
        MissingExtra: when transformers is not installed.
    """
    transformers = require("transformers", "backbones", "A model of transformers")
    config = _config(transformers, spec, f"{where}.transformers")
    images = next((info for info in features.values() if info.type == "image"), None)
    texts = next((info for info in features.values() if info.type == "text"), None)
    new = not spec.pretrained
    if texts is not None:
        if (
            new
            and "vocab_size" not in spec.options
            and hasattr(config, "vocab_size")
            and _from_type(transformers, spec)
        ):
            config.vocab_size, config.pad_token_id = vocabulary_size(texts), texts.state.get("pad_id", 0)
        check_text(texts, config, where)
    if images is not None and new:
        adapt(config, spec.options, image_shape(images)[0], image_shape(images)[1:])
    names = _class_names(config)
    resized = names is None and classes is not None and spec.head != "none" and "num_labels" not in spec.options
    if resized:
        config.num_labels = classes
    module = _network(transformers, spec, config, list(features.values()), f"{where}.transformers")
    pixels = None if images is None else _statistics(spec, images)
    pad = config.pad_token_id if isinstance(getattr(config, "pad_token_id", None), int) else 0
    portable = plain_config(config)
    return Loaded(
        module,
        pixels=pixels,
        channels=getattr(config, "num_channels", None),
        conversions={} if texts is None else {"input_ids": PaddedIds(pad), "attention_mask": AttendedMask()},
        classes=names if spec.head != "none" else None,
        portable={"transformers": portable.pop("model_type"), "options": portable, "pretrained": False},
    )


def _from_type(transformers: Any, spec: CustomSpec) -> bool:
    """Whether the model is named by its type, such as bert, rather than by a folder or a name on the hub."""
    assert spec.transformers is not None
    known = spec.transformers in transformers.CONFIG_MAPPING.keys()  # noqa: SIM118
    return known and not spec.pretrained and not Path(spec.transformers).is_dir()


def _config(transformers: Any, spec: CustomSpec, where: str) -> Any:
    assert spec.transformers is not None
    if _from_type(transformers, spec):
        return load_config(TransformersOptions(config={"model_type": spec.transformers, **spec.options}), where)
    config = load_config(TransformersOptions(model=spec.transformers), where)
    for key, value in spec.options.items():
        if key != "num_labels" and not hasattr(config, key):
            raise InputError(
                f"The configuration of {spec.transformers} has no {key!r}",
                where=f"{where.rpartition('.')[0]}.options.{key}",
                fix=nearest(key, list(config.to_dict())),
            )
        setattr(config, key, value)
    return config


def _network(transformers: Any, spec: CustomSpec, config: Any, infos: list[FeatureInfo], where: str) -> nn.Module:
    maker = transformers.AutoModel if spec.head == "none" else _classifier(transformers, config, infos, where)
    try:
        if not spec.pretrained:
            network: nn.Module = maker.from_config(config)
            return network
        # Only a head of another number of classes may differ from the file.
        network = maker.from_pretrained(
            spec.transformers, config=config, use_safetensors=True, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise InputError(
            f"transformers cannot load {spec.transformers}: {first_line(error)}",
            where=where,
            fix="Give the folder of a saved model with model.safetensors, or `pretrained: false` for new weights",
        ) from error
    return network


def _classifier(transformers: Any, config: Any, infos: list[FeatureInfo], where: str) -> Any:
    """The class of models with a classification head for these columns, or else any that the model has."""
    first = [_HEADS[info.type] for info in infos if info.type in _HEADS]
    for name in [*first, *_HEADS.values()]:
        maker = getattr(transformers, name)
        if type(config) in maker._model_mapping.keys():  # noqa: SIM118
            return maker
    raise InputError(
        f"transformers has no {config.model_type} with a head for classification",
        where=where,
        fix="Set `head` to none and use its features",
    )


def _class_names(config: Any) -> tuple[str, ...] | None:
    """The names that the configuration gives its classes; None for the library's placeholders."""
    names = {int(place): str(name) for place, name in (config.id2label or {}).items()}
    if not names or all(name == f"LABEL_{place}" for place, name in names.items()):
        return None
    return tuple(names[place] for place in sorted(names))


def _statistics(spec: CustomSpec, info: FeatureInfo) -> Statistics:
    mean, std = own_statistics(spec.transformers) if spec.pretrained else pixel_statistics(info)
    channels = image_shape(info)[0]
    return channel_statistics(mean, channels), channel_statistics(std, channels)
