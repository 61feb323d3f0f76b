"""How a custom model is described in `model.json`, and built again from that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mmdistill.data.features import FeatureInfo
from mmdistill.errors import InputError
from mmdistill.models.custom.arguments import Argument
from mmdistill.models.custom.build import build_custom
from mmdistill.models.custom.conversions import Pixels
from mmdistill.models.custom.model import CustomModel
from mmdistill.models.custom.source_files import source_digest
from mmdistill.models.custom.tap_path import parse_tap_path
from mmdistill.recipe.custom import CustomSpec


def custom_document(model: CustomModel) -> dict[str, Any]:
    """What says how to build a model again, as JSON data; its weights stand beside.

    A model whose module was handed over to `wrap` has no specification: its module is needed again.
    """
    return {
        "custom": None if model.spec is None else model.spec.model_dump(mode="json"),
        "source_sha256": None if model.spec is None else source_digest(model.spec),
        "module": f"{type(model.module).__module__}:{type(model.module).__qualname__}",
        "inputs": [[one.name, one.column, one.array] for one in model.arguments],
        "taps": {tap: str(path) for tap, path in model.tap_paths.items()},
        "pixels": {
            name: [conversion.mean, conversion.std]
            for name, conversion in model.conversions.items()
            if isinstance(conversion, Pixels)
        },
        "tasks": list(model.tasks),
        "classes": None if model.classes is None else list(model.classes),
        "orders": model.orders(),
    }


def restored_custom(
    document: Mapping[str, Any], features: Mapping[str, FeatureInfo], folder: Path, module: nn.Module | None
) -> CustomModel:
    """The model of a document, without its weights.

    Args:
        document: of `custom_document`.
        features: column → feature.
        folder: of the model, for messages.
        module: of a model that has no specification.

    Raises:
        InputError: when a module is needed and not given, a source is gone, or its file has changed.
    """
    if document["custom"] is None:
        model = _of_module(document, features, folder, module)
    else:
        spec = CustomSpec.model_validate(document["custom"])
        if document["source_sha256"] != source_digest(spec):
            raise InputError(
                f"The {spec.source} file is not the one that this model was saved with",
                where=str(getattr(spec, spec.source)),
                fix="Put the old file back, or train and save again",
            )
        model = build_custom(spec, features, dict.fromkeys(document["tasks"]), seed=0, where=str(folder))
    for tap, order in document["orders"].items():
        model.reorder(tap, order)
    model.classes = None if document["classes"] is None else tuple(document["classes"])
    return model


def _of_module(
    document: Mapping[str, Any], features: Mapping[str, FeatureInfo], folder: Path, module: nn.Module | None
) -> CustomModel:
    if module is None:
        raise InputError(
            f"The model is a module of one's own ({document['module']}), which only its weights were saved of",
            where=str(folder),
            fix="Give load_model a `module` of the same architecture, or name a `factory` in the recipe",
        )
    return CustomModel(
        module,
        [Argument(*each) for each in document["inputs"]],
        {tap: parse_tap_path(path) for tap, path in document["taps"].items()},
        features,
        conversions={name: Pixels((mean, std)) for name, (mean, std) in document["pixels"].items()},
        tasks=document["tasks"],
    )
