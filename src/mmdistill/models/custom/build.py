"""From the specification of a custom model to the model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from mmdistill.data.features import FeatureInfo
from mmdistill.errors import InputError
from mmdistill.models.custom.arguments import Argument, signature_of, stated_arguments, usual_arguments
from mmdistill.models.custom.conversions import Statistics
from mmdistill.models.custom.model import CustomModel
from mmdistill.models.custom.sources.loaded import Loaded
from mmdistill.models.custom.tap_path import TapPath, parse_tap_path
from mmdistill.models.custom.weights import load_weights
from mmdistill.models.custom.wrap import pixel_conversions
from mmdistill.models.encoders.image_input import image_shape, pixel_statistics
from mmdistill.models.encoders.pretrained_pixels import channel_statistics
from mmdistill.models.tap_names import logits_tap
from mmdistill.recipe.custom import CustomSpec, PixelSpec


def build_custom(
    spec: CustomSpec,
    features: Mapping[str, FeatureInfo],
    outputs: Mapping[str, int | None],
    seed: int,
    where: str = "custom",
) -> CustomModel:
    """A model of another library or of the user's own; its first weights depend on the arguments alone.

    Args:
        spec: where it comes from and how it is used.
        features: the feature of each column that it reads.
        outputs: task → how many outputs its logits need; None where any number is right. The logits of the only task
            are the tap `logits`, those of several `<task>.logits`.
        seed: of the first weights.
        where: key of the recipe, for messages.

    Returns:
        The model, with `spec` the portable form of the specification: what pretrained weights, configurations and
        folders stand for is written out, so that it can be built again without them.

    Raises:
        InputError: when the source, a weight, an argument or a tap is not there, or the number of outputs is wrong.
        MissingExtra: when the source needs a library that is not installed.
    """
    with torch.random.fork_rng(devices=[]):
        # Not `manual_seed`, which would reseed every other device as well.
        torch.default_generator.manual_seed(seed)
        loaded = load_source(spec, features, _classes_to_build(spec, outputs), where)
        if spec.weights is not None:
            load_weights(loaded.module, spec.weights, f"{where}.weights")
    arguments = _arguments(spec, loaded.module, features, f"{where}.inputs")
    pixels = pixel_choice(spec, loaded, features)
    given = {argument.name for argument in arguments}
    conversions = {name: module for name, module in loaded.conversions.items() if name in given}
    model = CustomModel(
        loaded.module,
        arguments,
        _tap_paths(spec, tuple(outputs), where),
        {column: features[column] for column in {argument.column for argument in arguments}},
        conversions=conversions | pixel_conversions(arguments, features, pixels, loaded.channels),
        tasks=tuple(outputs),
        spec=_portable(spec, loaded, pixels, arguments),
        classes=spec.classes or loaded.classes,
    )
    _check_outputs(model, outputs, where)
    return model


def load_source(spec: CustomSpec, features: Mapping[str, FeatureInfo], classes: int | None, where: str) -> Loaded:
    """The module of a specification; the library of its source is imported here."""
    if spec.source == "factory":
        from mmdistill.models.custom.sources.factory import load_factory

        return load_factory(spec, where)
    if spec.source == "timm":
        from mmdistill.models.custom.sources.timm_model import load_timm

        return load_timm(spec, features, classes, where)
    if spec.source == "transformers":
        from mmdistill.models.custom.sources.transformers_model import load_transformers

        return load_transformers(spec, features, classes, where)
    if spec.source == "program":
        from mmdistill.models.custom.sources.program import load_program

        return load_program(spec, where)
    from mmdistill.models.custom.sources.onnx_file import load_onnx

    return load_onnx(spec, where)


def pixel_choice(spec: CustomSpec, loaded: Loaded, features: Mapping[str, FeatureInfo]) -> Statistics | None:
    """The statistics that images are standardised with; None leaves pixels from 0 to 1, or where there are none."""
    info = next((info for info in features.values() if info.type == "image"), None)
    if info is None or spec.pixels == "unit":
        return None
    if spec.pixels == "rows":
        return pixel_statistics(info)
    if isinstance(spec.pixels, PixelSpec):
        channels = image_shape(info)[0]
        return channel_statistics(spec.pixels.mean, channels), channel_statistics(spec.pixels.std, channels)
    return loaded.pixels


def refuse_absent_rows(model: CustomModel, absent: Mapping[str, int], where: str = "custom") -> None:
    """Refuse rows without a column that the model cannot do without, before anything is trained.

    Args:
        model: a custom model.
        absent: column → number of rows that lack it, or that are shown without it.
        where: key of the recipe, for messages.

    Raises:
        InputError: naming the column.
    """
    for column in model.required_columns:
        if absent.get(column, 0):
            raise InputError(
                f"{absent[column]:,} rows have no {column!r}, and the model is not told which",
                where=f"{where}.inputs",
                fix=f"Leave those rows out, or give an argument of the module `{column}.present`",
            )


def _classes_to_build(spec: CustomSpec, outputs: Mapping[str, int | None]) -> int | None:
    """How many classes a new classifier gets: those that are named, or those of the only task."""
    if spec.classes is not None:
        return len(spec.classes)
    return next(iter(outputs.values())) if len(outputs) == 1 else None


def _arguments(
    spec: CustomSpec, module: nn.Module, features: Mapping[str, FeatureInfo], where: str
) -> tuple[Argument, ...]:
    signature = signature_of(module)
    if spec.inputs:
        return stated_arguments(spec.inputs, signature, list(features), where)
    return usual_arguments(signature, features, where)


def _tap_paths(spec: CustomSpec, tasks: tuple[str, ...], where: str) -> dict[str, TapPath]:
    """The taps that are named, and the logits where there is one task."""
    logits = [logits_tap(task, tasks) for task in tasks]
    named = {"logits": ""} | spec.taps if len(tasks) < 2 else dict(spec.taps)
    for tap in logits:
        if tap not in named:
            raise InputError(
                f"There are several tasks, and nothing says where the {tap!r} of the model are",
                where=f"{where}.taps",
                fix=f"Name them, as in {{{tap}: head}}",
            )
    return {tap: parse_tap_path(path, f"{where}.taps.{tap}") for tap, path in named.items()}


def _portable(
    spec: CustomSpec, loaded: Loaded, pixels: Statistics | None, arguments: tuple[Argument, ...]
) -> CustomSpec:
    changes = {**loaded.portable, "weights": None}
    if pixels is not None:
        changes["pixels"] = {"mean": list(pixels[0]), "std": list(pixels[1])}
    elif loaded.pixels is not None:
        changes["pixels"] = "unit"
    inputs = {one.name: f"{one.column}.{one.array}" for one in arguments}
    return CustomSpec.model_validate(spec.model_dump() | changes | {"inputs": inputs})


def _check_outputs(model: CustomModel, outputs: Mapping[str, int | None], where: str) -> None:
    """As many logits as there are classes: those that are named, or those of the task."""
    for task, wanted in outputs.items():
        tap = logits_tap(task, tuple(outputs))
        found, named = model.taps[tap][-1], None if model.classes is None else len(model.classes)
        if named is not None and named != found:
            raise InputError(
                f"The model has {found} outputs, and {named} classes are named",
                where=f"{where}.classes",
                fix="Name its classes in the order of its outputs",
            )
        if named is None and wanted is not None and found != wanted:
            raise InputError(
                f"The model has {found} outputs, and {task!r} needs {wanted}",
                where=where,
                fix="Set the number of its classes in `options`, or name its own `classes`",
            )
