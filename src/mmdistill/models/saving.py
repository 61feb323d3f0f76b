"""A finished model on disk: `model.safetensors` and `model.json`, which together rebuild it anywhere, offline.

`model.json` is written last and names the digest of the weights, so a folder either holds one whole model or says that
it does not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mmdistill.data.features import FeatureInfo
from mmdistill.errors import InputError, MMDistillError
from mmdistill.files import disk_errors, write_text, written_aside
from mmdistill.models.any_model import AnyModel
from mmdistill.models.custom.model import CustomModel
from mmdistill.models.custom.saving import custom_document, restored_custom
from mmdistill.models.multimodal import Head, MultimodalModel, build_model
from mmdistill.recipe.schema import ModelSpec

FORMAT = 1
WEIGHTS, DOCUMENT = "model.safetensors", "model.json"


def save_model(folder: str | Path, model: AnyModel, card: Mapping[str, Any]) -> None:
    """Write a model into a folder, which is made when it is not there; other files in it stay.

    A model that was there before is replaced. Whenever this is interrupted, the folder holds the new model or none.

    Args:
        folder: of the model.
        model: its weights are saved as they are, wherever they are.
        card: what else belongs to it, JSON data: the tasks' states, scores, where it came from.

    Raises:
        MMDistillError: when the disk is full, or the card is not JSON data.
        InputError: when the folder cannot be written to.
    """
    folder = Path(folder)
    weights, aliases = _weights(model)
    try:
        content = save(weights, metadata={"format": "pt"})
        document = {
            "format": FORMAT,
            **(custom_document(model) if isinstance(model, CustomModel) else _document_of(model)),
            "features": {column: info.to_json() for column, info in model.features.items()},
            "aliases": aliases,
            "sha256": hashlib.sha256(content).hexdigest(),
            "card": dict(card),
        }
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise MMDistillError(f"The card is not JSON data: {error}", where=str(folder)) from error
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DOCUMENT).unlink(missing_ok=True)
        with written_aside(folder / WEIGHTS) as aside:
            aside.write_bytes(content)
        write_text(folder / DOCUMENT, text)


def load_model(
    folder: str | Path,
    map_location: torch.device | str = "cpu",
    heads: Mapping[str, Callable[[int], nn.Module]] | None = None,
    module: nn.Module | None = None,
) -> tuple[AnyModel, dict[str, Any]]:
    """Read a model back, in eval mode.

    Args:
        folder: of the model.
        map_location: the device it goes to.
        heads: the functions that made its heads, for tasks whose heads are not a plain linear layer.
        module: the architecture of a model that was made by `wrap`; its weights are replaced.

    Returns:
        The model and its card.

    Raises:
        InputError: when there is no model, it is damaged, was written by another version, or needs a head or a module
            that is not given, or a file that has changed.
    """
    folder = Path(folder)
    document = _document(folder)
    try:
        features = {column: FeatureInfo.from_json(info) for column, info in document["features"].items()}
        aliases, card = document["aliases"], document["card"]
        weights = _read_weights(folder, document["sha256"], map_location)
        if "custom" in document:
            model: AnyModel = restored_custom(document, features, folder, module)
        else:
            spec = ModelSpec.model_validate(document["spec"])
            model = build_model(spec, features, _heads(document["heads"], heads or {}, folder), seed=0)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(folder / DOCUMENT, f"it lacks or spoils {error}") from error
    weights |= {alias: weights[name] for alias, name in aliases.items() if name in weights}
    try:
        model.to(map_location).load_state_dict(weights)
    except RuntimeError as error:
        raise _damaged(folder / WEIGHTS, f"its weights do not fit {DOCUMENT}: {error}") from error
    return model.eval(), card


def portable_spec(model: MultimodalModel) -> ModelSpec:
    """The model's specification, with whatever an encoder read from elsewhere (a hub, a folder) written out in it."""
    fields = model.spec.model_dump(include=set(ModelSpec.model_fields))
    for column, encoder in model.encoders.items():
        portable = getattr(encoder, "portable", None)
        if portable is not None:
            fields["encoders"][column] = {"name": model.spec.encoders[column].name, **portable()}
    return ModelSpec.model_validate(fields)


def _document_of(model: MultimodalModel) -> dict[str, Any]:
    """What says how to build a model of encoders, fusion and heads again."""
    return {"spec": portable_spec(model).model_dump(mode="json"), "heads": model.head_sizes}


def _weights(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Every tensor once, and the other names of those that have several (tied weights)."""
    names: dict[int, str] = {}
    weights: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        first = names.setdefault(id(tensor), name)
        if first != name:
            aliases[name] = first
        else:
            weights[name] = tensor.detach().cpu().contiguous()
    return weights, aliases


def _document(folder: Path) -> dict[str, Any]:
    path = folder / DOCUMENT
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            "There is no model here" if not folder.is_dir() else f"There is no {DOCUMENT} here, so no finished model",
            where=str(folder),
            fix="Give the folder of a model in a run, such as runs/<name>/student/seed-0",
        ) from error
    except OSError as error:
        raise InputError(f"The model cannot be read: {error.strerror or error}", where=str(path)) from error
    except ValueError as error:
        raise _damaged(path, "it is not JSON") from error
    if not isinstance(document, dict) or "format" not in document:
        raise _damaged(path, "it states no format")
    if document["format"] != FORMAT:
        raise InputError(
            f"The model has format {document['format']!r}; this version of mmdistill reads {FORMAT}",
            where=str(path),
            fix="Use the version of mmdistill that wrote it",
        )
    return document


def _read_weights(folder: Path, digest: str, device: torch.device | str) -> dict[str, Tensor]:
    path = folder / WEIGHTS
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"The weights cannot be read: {error.strerror or error}", where=str(path)) from error
    if found != digest:
        raise _damaged(path, f"its content is not what {DOCUMENT} states")
    try:
        return load_file(path, device=str(device))
    except SafetensorError as error:
        raise _damaged(path, str(error)) from error


def _heads(
    sizes: Mapping[str, int | None], given: Mapping[str, Callable[[int], nn.Module]], folder: Path
) -> dict[str, Head]:
    missing = [task for task, size in sizes.items() if size is None and task not in given]
    if missing:
        raise InputError(
            f"The model's head for {', '.join(map(repr, missing))} is not a plain linear layer, and none is given",
            where=str(folder),
            fix="Give load_model the `heads` that the model was built with",
        )
    heads: dict[str, Head] = {}
    for task, size in sizes.items():
        made = given.get(task)
        heads[task] = made if made is not None else int(size or 0)
    return heads


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"The file is damaged: {why}", where=str(path), fix="Run the training again, or restore the file")
