"""Models of the transformers library: from a name, a folder or a configuration, with weights or without."""

from __future__ import annotations

import json
from typing import Any

from torch import nn

from mmdistill.errors import InputError, nearest, require
from mmdistill.models.encoders.catalog import TransformersOptions


def load_config(options: TransformersOptions, where: str) -> Any:
    """The configuration that the options name.

    Raises:
        InputError: when there is no such model or configuration.
        MissingExtra: when transformers is not installed.
    """
    transformers = require("transformers", "backbones", "The encoder 'transformers'")
    if options.config is None:
        try:
            return transformers.AutoConfig.from_pretrained(options.model)
        except (OSError, ValueError) as error:
            raise InputError(
                f"transformers finds no model {options.model!r}: {first_line(error)}",
                where=where,
                fix="Give the folder of a saved model, or the name of one on the hub",
            ) from error
    keys = dict(options.config)
    kind = keys.pop("model_type", None)
    known = sorted(transformers.CONFIG_MAPPING.keys())
    if kind not in known:
        missing = (
            "The configuration names no model_type" if kind is None else f"transformers has no model_type {kind!r}"
        )
        hint = nearest(str(kind), known)
        raise InputError(
            missing, where=f"{where}.config", fix=hint if hint.startswith("Did") else "Such as bert or vit"
        )
    try:
        return transformers.AutoConfig.for_model(kind, **keys)
    except (TypeError, ValueError) as error:
        raise InputError(f"The configuration is refused: {first_line(error)}", where=f"{where}.config") from error


def load_network(options: TransformersOptions, config: Any, where: str) -> nn.Module:
    """The encoder of a configuration, with the weights of `options.model` when they are asked for.

    A pooler with weights of its own is left out: embeddings are pooled from the tokens. Only safetensors are read.

    Raises:
        InputError: when weights or architecture cannot be had.
    """
    transformers = require("transformers", "backbones", "The encoder 'transformers'")
    try:
        if options.pretrained:
            network = transformers.AutoModel.from_pretrained(options.model, config=config, use_safetensors=True)
        else:
            network = transformers.AutoModel.from_config(config)
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        source = options.model or f"a {config.model_type} of this configuration"
        raise InputError(
            f"transformers cannot load {source}: {first_line(error)}",
            where=where,
            fix="Give the folder of a saved model with model.safetensors, or `pretrained: false` for new weights",
        ) from error
    if getattr(config, "is_encoder_decoder", False):
        network = network.get_encoder()
    pooler = getattr(network, "pooler", None)
    if isinstance(pooler, nn.Module) and any(True for _ in pooler.parameters()):
        network.pooler = None
    return network


def hidden_size(config: Any) -> int:
    """Width of a model's tokens or last feature maps."""
    size = getattr(config, "hidden_size", None)
    return int(size if size is not None else config.hidden_sizes[-1])


def plain_config(config: Any) -> dict[str, Any]:
    """A configuration as JSON data that `load_config` takes."""
    document: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    for key in ("transformers_version", "_name_or_path", "architectures"):
        document.pop(key, None)
    return document


def first_line(error: Exception) -> str:
    """What an error of the library says, without the advice that follows."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
