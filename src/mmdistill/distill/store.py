"""Teacher outputs on disk: one memory-mapped array a tap, and a description of what they were made from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mmdistill.distill.padded_sizes import PaddedSizes
from mmdistill.distill.signals import StoredTeacher
from mmdistill.errors import InputError
from mmdistill.files import disk_errors, read_json, write_json, written_aside
from mmdistill.models.inference import collect
from mmdistill.models.tap_names import mask_tap

if TYPE_CHECKING:
    from mmdistill.data.loader import Loader
    from mmdistill.models.any_model import AnyModel

DESCRIPTION = "signals.json"
FORMAT = 1


def stored_teacher(
    teacher: AnyModel,
    taps: Iterable[str],
    clean: Loader,
    *,
    folder: Path | None,
    identity: Mapping[str, str],
    present: Tensor | None = None,
) -> StoredTeacher:
    """The teacher's outputs for every row of `clean`: those in `folder`, after computing what is not there yet.

    Args:
        teacher: a finished model.
        taps: outputs wanted; the mask of a tap of variable length comes with it.
        clean: loader of the rows as they are, each once.
        folder: of the store; None keeps the outputs in memory.
        identity: what they depend on beside the teacher's weights and the rows.
        present: bool (N,), in ascending order of row numbers: which rows have a column that the teacher reads; None
            when all have.

    Raises:
        InputError: when the folder holds the signals of another teacher, other rows or other features, or is damaged.
        MMDistillError: when the disk is full.
    """
    rows = torch.from_numpy(np.sort(clean.rows))
    wanted = sorted(taps)
    if folder is None:
        values = {tap: _with_missing(value).numpy() for tap, value in _computed(teacher, clean, wanted).items()}
    else:
        values = _in_folder(teacher, wanted, clean, folder, full_identity(teacher, rows, identity))
    growing = [tap for tap in values if None in teacher.taps[tap]]
    return StoredTeacher(
        {tap: torch.from_numpy(value) for tap, value in values.items()},
        rows,
        present=present,
        sizes=PaddedSizes(teacher, growing, clean.device) if growing else None,
        device=clean.device,
    )


def full_identity(teacher: nn.Module, rows: Tensor, identity: Mapping[str, str]) -> dict[str, str]:
    """All that stored signals must agree with, by name."""
    return {"weights": weights_digest(teacher), "rows": _digest(rows.numpy()), **identity}


def weights_digest(model: nn.Module) -> str:
    """SHA-256 of the names, types, shapes and values of a model's parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        array = value.detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}\n".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _in_folder(
    teacher: AnyModel, taps: list[str], clean: Loader, folder: Path, identity: dict[str, str]
) -> dict[str, Any]:
    """The arrays of the wanted taps, as memory maps, after adding to the folder what it does not hold yet."""
    held: dict[str, Any] = {}
    if (folder / DESCRIPTION).exists():
        description = read_json(folder / DESCRIPTION)
        _check_identity(description, identity, folder)
        held = description["taps"]
    missing = [tap for tap in taps if tap not in held]
    if missing:
        for tap, value in _computed(teacher, clean, missing).items():
            held[tap] = _write(folder, tap, _with_missing(value).numpy())
        write_json(folder / DESCRIPTION, {"format": FORMAT, "identity": identity, "taps": held})
    wanted = [name for tap in taps for name in (tap, mask_tap(tap)) if name in held]
    return {tap: _read(folder, tap, held[tap]) for tap in dict.fromkeys(wanted)}


def _computed(teacher: AnyModel, clean: Loader, taps: list[str]) -> dict[str, Tensor]:
    """The taps for every row of the loader, on the CPU."""
    outputs = collect(teacher, clean, taps)
    # NumPy has no bfloat16.
    return {tap: value.float() if value.dtype == torch.bfloat16 else value for tap, value in outputs.items()}


def _with_missing(values: Tensor) -> Tensor:
    """One more entry, for the rows that are not stored: NaN, or zero where there is no NaN."""
    last = torch.full((1, *values.shape[1:]), torch.nan if values.is_floating_point() else 0, dtype=values.dtype)
    return torch.cat([values, last])


def _check_identity(description: Any, identity: Mapping[str, str], folder: Path) -> None:
    again = "Remove this folder, and the signals are computed again"
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise InputError("These signals were stored by another version", where=str(folder), fix=again)
    held = description.get("identity", {})
    different = sorted(key for key in {*held, *identity} if held.get(key) != identity.get(key))
    if different:
        raise InputError(
            f"The signals stored here were made with another: {', '.join(different)}", where=str(folder), fix=again
        )


def _write(folder: Path, tap: str, values: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Write an array, whole or not at all, and describe it."""
    file = f"{re.sub(r'[^A-Za-z0-9._-]', '_', tap)}-{hashlib.sha256(tap.encode()).hexdigest()[:8]}.npy"
    with written_aside(folder / file) as aside, disk_errors(aside), aside.open("wb") as stream:
        np.save(stream, values, allow_pickle=False)
    return {"file": file, "digest": _digest(values)}


def _read(folder: Path, tap: str, description: Mapping[str, str]) -> np.ndarray[Any, Any]:
    """A memory map of an array, after checking it against its checksum."""
    path = folder / description["file"]
    try:
        # Copy-on-write: nothing can change the file, and torch takes the array without a warning.
        values: np.ndarray[Any, Any] = np.load(path, mmap_mode="c", allow_pickle=False)
        intact = _digest(values) == description["digest"]
    except (OSError, ValueError):
        intact = False
    if not intact:
        raise InputError(
            f"The stored signals of the tap {tap!r} are missing or damaged",
            where=str(path),
            fix="Remove the folder, and the signals are computed again",
        )
    return values


def _digest(values: np.ndarray[Any, Any]) -> str:
    digest = hashlib.sha256(f"{values.dtype} {values.shape}".encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
