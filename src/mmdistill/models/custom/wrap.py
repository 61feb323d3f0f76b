"""From a module of one's own to a model of the library, in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from mmdistill.data.features import FeatureInfo
from mmdistill.data.modalities.base import ArraySpec
from mmdistill.errors import InputError
from mmdistill.models.custom.arguments import (
    Argument,
    signature_of,
    stated_arguments,
    usual_arguments,
)
from mmdistill.models.custom.conversions import Pixels, Statistics
from mmdistill.models.custom.model import CustomModel
from mmdistill.models.custom.tap_path import parse_tap_path

TENSOR = "tensor"
"""Type of a feature that was not prepared by this library and is handed over as it is."""


def wrap(
    module: nn.Module,
    inputs: Mapping[str, str] | None = None,
    taps: Mapping[str, str] | None = None,
    *,
    features: Mapping[str, FeatureInfo] | None = None,
    example: Mapping[str, Tensor | Mapping[str, Tensor]] | None = None,
    pixels: Statistics | None = None,
    tasks: Sequence[str] = (),
    classes: Sequence[str] | None = None,
) -> CustomModel:
    """Use a module as a teacher or a student; see `CustomModel`.

    Args:
        module: any module; trained and hooked in place, not copied.
        inputs: argument of its ``forward`` → ``<column>`` or ``<column>.<array>``: ``{"x": "image"}``,
            ``{"input_ids": "text.values", "attention_mask": "text.mask"}``, ``{"known": "image.present"}``. Where it is
            left out, a column goes to the argument of its name, or the only column to the first argument.
        taps: name → where it is taken (`mmdistill.models.custom.tap_path`): ``{"fused": "backbone.layer4"}``. `logits`
            is what the module gives, or the `logits` in it, when left out. The mask of a tap of variable length is
            named ``<tap>.mask``.
        features: column → feature of prepared rows.
        example: instead of `features`: a batch, feature → tensor or arrays, batch first.
        pixels: mean and standard deviation of pixels / 255 that images are standardised with; from 0 to 1 when left
            out. Only columns of type image are touched.
        tasks: the tasks whose logits it gives.
        classes: names of the classes in the order of its logits.

    Raises:
        InputError: when an argument, a column, an array or a module does not exist, naming the nearest one.
    """
    if features is not None and example is not None:
        raise InputError("Both `features` and an `example` are given", where="wrap", fix="Give one of them")
    infos = dict(features or {}) if example is None else infos_of(example)
    signature = signature_of(module)
    if inputs:
        arguments = stated_arguments(inputs, signature, list(infos) or None)
    elif infos:
        arguments = usual_arguments(signature, infos)
    else:
        raise InputError(
            "It is not known what the module reads",
            where="wrap",
            fix="Name it with `inputs`, as in {'x': 'image'}, or give `features` or an `example`",
        )
    infos = infos or {one.column: FeatureInfo(one.column, one.column, TENSOR, {}, {}, {}) for one in arguments}
    paths = {tap: parse_tap_path(path, f"taps.{tap}") for tap, path in ({"logits": ""} | dict(taps or {})).items()}
    return CustomModel(
        module,
        arguments,
        paths,
        infos,
        conversions=pixel_conversions(arguments, infos, pixels),
        tasks=tasks,
        classes=classes,
    )


def pixel_conversions(
    arguments: Sequence[Argument],
    features: Mapping[str, FeatureInfo],
    pixels: Statistics | None,
    channels: int | None = None,
) -> dict[str, nn.Module]:
    """The conversions of the arguments that are images; see `Pixels`."""
    images = [one.name for one in arguments if features[one.column].type == "image" and one.array == "values"]
    return {name: Pixels(channels=channels) if pixels is None else Pixels(pixels, channels) for name in images}


def infos_of(example: Mapping[str, Tensor | Mapping[str, Tensor]]) -> dict[str, FeatureInfo]:
    """Descriptions of features that are handed over as tensors, by name; each is a column of its own."""
    return {
        name: FeatureInfo(name, name, TENSOR, {}, {}, {array: _spec(values) for array, values in _each(arrays)})
        for name, arrays in example.items()
    }


def _each(arrays: Tensor | Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    return [("values", arrays)] if isinstance(arrays, Tensor) else list(arrays.items())


def _spec(values: Tensor) -> ArraySpec:
    return ArraySpec(tuple(values.shape[1:]), str(values.dtype).removeprefix("torch."))
