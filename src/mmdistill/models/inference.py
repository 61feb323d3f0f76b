"""A model applied to all rows of a loader."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.errors import InputError, nearest
from mmdistill.models.modes import evaluating

if TYPE_CHECKING:
    from mmdistill.models.any_model import AnyModel


class Batches(Protocol):
    """What `collect` asks of a loader."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """The batches of an epoch, each with `features`, `present` and `row`."""
        ...


def collect(
    model: AnyModel,
    loader: Batches,
    taps: Sequence[str],
    subset: Collection[str] | None = None,
    device: torch.device | str | None = None,
) -> dict[str, Tensor]:
    """Outputs of a model for every row of a loader, in ascending order of row numbers, on the host.

    The model is in eval mode meanwhile; every module is put back into its own mode. Sequences are padded to the
    longest, with their `.mask` taps false there.

    Args:
        model: on `device`.
        loader: its epoch 0 is read.
        taps: the outputs to keep.
        subset: the columns that the model may see, all others masked in every row; None: all that a row has. Encoders
            of masked columns are not run, and the loader need not have their features.
        device: where batches go; where the model is when None.

    Returns:
        tap → (rows, …), in the dtype of the outputs.

    Raises:
        InputError: when the model has no such tap or column, or the loader no rows.
    """
    hidden = _hidden(model, subset)
    target = torch.device(device) if device is not None else _device(model)
    kept: dict[str, list[Tensor]] = {tap: [] for tap in taps}
    numbers: list[Tensor] = []
    with torch.inference_mode(), evaluating(model):
        for batch in loader.batches(0):
            moved = batch.to(target)
            features, present = _masked(model, moved["features"], moved["present"], hidden, taps)
            outputs = model(features, present)
            for tap in taps:
                if tap not in outputs:
                    raise InputError(f"The model has no output {tap!r}", fix=nearest(tap, list(outputs)))
                kept[tap].append(outputs[tap].cpu())
            numbers.append(batch["row"].cpu())
    if not numbers:
        raise InputError("There are no rows to apply the model to", fix="Check the split")
    order = torch.cat(numbers).argsort(stable=True)
    # Outside inference mode, so that what is handed over can take part in training.
    return {tap: _joined(parts)[order] for tap, parts in kept.items()}


def _hidden(model: AnyModel, subset: Collection[str] | None) -> tuple[str, ...]:
    if subset is None:
        return ()
    for column in subset:
        if column not in model.columns:
            raise InputError(f"The model does not read the column {column!r}", fix=nearest(column, list(model.columns)))
    return tuple(column for column in model.columns if column not in subset)


def _masked(
    model: AnyModel,
    features: Mapping[str, Any],
    present: Mapping[str, Tensor],
    hidden: Collection[str],
    taps: Sequence[str],
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A batch in which no row has the hidden columns; their features are left out unless a tap of theirs is wanted."""
    seen: dict[str, Any] = {}
    whose: dict[str, Tensor] = {}
    given = features.keys()
    nobody = torch.zeros_like(next(iter(present.values())))
    for column, info in model.features.items():
        whose[column] = nobody if column in hidden else present[column]
        wanted = info.name in given and any(tap.startswith(f"{column}.") for tap in taps)
        if column not in hidden or wanted:
            seen[info.name] = features[info.name]
    return seen, whose


def _device(model: torch.nn.Module) -> torch.device:
    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Batches one after the other, each padded at the end of every dimension to the largest of them."""
    if all(part.shape[1:] == parts[0].shape[1:] for part in parts):
        return torch.cat(list(parts))
    sizes = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    return torch.cat([F.pad(part, _missing(part, sizes)) for part in parts])


def _missing(part: Tensor, sizes: Sequence[int]) -> list[int]:
    """What `torch.nn.functional.pad` adds at the end of each dimension, the last one first."""
    pads: list[int] = []
    for have, want in zip(reversed(part.shape[1:]), reversed(sizes), strict=True):
        pads += [0, want - have]
    return pads
