"""Weights from a file, of which nothing can run code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mmdistill.errors import InputError

_NESTED = ("state_dict", "model", "model_state_dict")


def read_weights(path: str | Path, where: str = "weights") -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a PyTorch file that holds nothing but tensors and plain values.

    A state that is kept under ``state_dict`` or ``model``, as trainers do, is found there; the prefix ``module.`` that
    DistributedDataParallel puts in front of every name is taken off.

    Raises:
        InputError: when there is no such file, it is damaged, or reading it could run code.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"There is no file {path}", where=where, fix="Check the path")
    content = _safetensors(file, where) if file.suffix == ".safetensors" else _torch_file(file, where)
    nested = next((key for key in _NESTED if isinstance(content.get(key), Mapping)), None)
    weights = dict(content if nested is None else content[nested])
    others = [name for name, value in weights.items() if not isinstance(value, Tensor)]
    if others or not weights:
        raise InputError(
            f"This is not a state dict: {others[0]!r} is no tensor" if others else "The file holds no weights",
            where=str(file),
            fix="Save model.state_dict()",
        )
    if all(name.startswith("module.") for name in weights):
        weights = {name.removeprefix("module."): value for name, value in weights.items()}
    return weights


def load_weights(module: nn.Module, path: str | Path, where: str = "weights") -> None:
    """Put the weights of a file into a module; every name and shape has to agree.

    Raises:
        InputError: see `read_weights`; or when names or shapes differ, naming some of them.
    """
    weights = read_weights(path, where)
    own = module.state_dict()
    missing, unknown = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    other = sorted(name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape)
    problems = [f"it lacks {_some(missing)}"] * bool(missing) + [f"it has {_some(unknown)} beside"] * bool(unknown)
    problems += [
        f"{name} has the shape {tuple(weights[name].shape)}, not {tuple(own[name].shape)}" for name in other[:3]
    ]
    if problems:
        raise InputError(
            f"The weights do not belong to this model: {', '.join(problems)}",
            where=f"{where} ({path})",
            fix="Give the weights of the same architecture with as many outputs",
        )
    module.load_state_dict(weights)


def _safetensors(file: Path, where: str) -> dict[str, Any]:
    try:
        return dict(load_file(file))
    except SafetensorError as error:
        raise InputError(f"The file is damaged: {error}", where=f"{where} ({file})") from error


def _torch_file(file: Path, where: str) -> dict[str, Any]:
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise InputError(
            "The file holds more than tensors, and reading it could run code",
            where=f"{where} ({file})",
            fix="Save model.state_dict() with safetensors.torch.save_file",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"The file cannot be read: {error}", where=f"{where} ({file})") from error
    if not isinstance(content, Mapping):
        raise InputError(f"The file holds a {type(content).__name__}, not a state dict", where=f"{where} ({file})")
    return dict(content)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
