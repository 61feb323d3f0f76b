"""One file that holds a training in the middle: whole or not there, and never with weights that are not finite."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmdistill.errors import InputError, MMDistillError
from mmdistill.files import written_aside

FILE_NAME = "checkpoint.pt"
FORMAT = 1


def save_checkpoint(path: Path, state: Mapping[str, Any], fingerprint: Mapping[str, str]) -> None:
    """Write a checkpoint aside, flush it to the disk, then rename it.

    Args:
        path: the file.
        state: tensors, numbers, strings and lists or dicts of them.
        fingerprint: what the training depends on, by name; `load_checkpoint` compares it.

    Raises:
        MMDistillError: when the disk is full.
        InputError: when the folder cannot be written to.
    """
    with written_aside(path) as aside:
        torch.save({"format": FORMAT, "fingerprint": dict(fingerprint), "state": dict(state)}, aside)


def load_checkpoint(path: Path, fingerprint: Mapping[str, str]) -> dict[str, Any]:
    """Read the state of a checkpoint, on the CPU. Nothing in it can run code.

    Args:
        path: the file.
        fingerprint: of the training that is to go on.

    Raises:
        InputError: when the file is damaged, or belongs to another training.
    """
    again = "Remove the file to train this model again from its start"
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken is not None:
            raise ValueError(f"{broken} has a wrong checksum")
        content = torch.load(path, map_location="cpu", weights_only=True)
        held, state = content["fingerprint"], content["state"]
    except (ValueError, KeyError, RuntimeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"The checkpoint is damaged ({error})", where=str(path), fix=again) from error
    except Exception as error:  # torch raises pickle's own error for content that weights_only refuses
        raise InputError(f"The file is no checkpoint of mmdistill ({error})", where=str(path), fix=again) from error
    if content.get("format") != FORMAT:
        raise InputError("The checkpoint was written by another version", where=str(path), fix=again)
    different = sorted(key for key in {*held, *fingerprint} if held.get(key) != fingerprint.get(key))
    if different:
        raise InputError(
            f"The checkpoint belongs to another training: {_differences(different, held, fingerprint)}",
            where=str(path),
            fix="Give the run another name, use --overwrite, or go back to what the checkpoint was made with",
        )
    return dict(state)


def remove_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of a training whose model has been saved."""
    (folder / FILE_NAME).unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed while writing left in a folder that no other process uses."""
    for path in folder.glob(".*.part"):
        path.unlink(missing_ok=True)


def require_finite(tensors: Iterable[Tensor], where: str) -> None:
    """Refuse weights that are NaN or infinite; waits for the device.

    Raises:
        MMDistillError: when one is not finite.
    """
    floating = [tensor.detach() for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    by_type: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for tensor in floating:
        by_type.setdefault((tensor.device, tensor.dtype), []).append(tensor)
    for tensors_of_type in by_type.values():
        largest = torch.stack(torch._foreach_norm(tensors_of_type, ord=float("inf")))
        if not bool(largest.isfinite().all()):
            raise MMDistillError(
                "The weights are no longer finite though every loss was",
                where=where,
                fix="Lower train.learning_rate, or train in float32",
            )


def _differences(keys: list[str], held: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    def short(value: str | None) -> str:
        return "nothing" if value is None else value if len(value) <= 60 else f"{value[:57]}..."

    return ", ".join(f"{key} was {short(held.get(key))} and is {short(wanted.get(key))}" for key in keys)
