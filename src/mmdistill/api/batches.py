"""Batches of somebody else's loader as the batches of this library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from mmdistill.data.views import derive
from mmdistill.errors import InputError

TASK = "target"
INPUT = "inputs"
_TARGETS = ("target", "targets", "labels", "label")
_ROWS = ("row", "rows")


class LoaderBatches:
    """A loader of tuples or mappings, with the order of every epoch decided by the seed alone.

    So a student and its baseline see the same batches, whatever either of them draws while it learns.

    Args:
        loader: can be gone through again and again.
        seed: of the order, where the loader has no generator of its own.
        device: where batches go.

    Raises:
        InputError: when it has no length or is empty.
    """

    def __init__(self, loader: Iterable[Any], seed: int, device: torch.device) -> None:
        self._loader, self._seed, self._device = loader, seed, device
        try:
            self._length = len(loader)  # type: ignore[arg-type]
        except TypeError as error:
            raise InputError(
                "The loader does not say how many batches it has",
                where="loader",
                fix="Give a DataLoader of a dataset with a length, or a list of batches",
            ) from error
        if not self._length:
            raise InputError("The loader has no batches", where="loader", fix="Check its dataset and drop_last")
        generator = getattr(loader, "generator", None)
        self._generator = generator if isinstance(generator, torch.Generator) else None
        self._state = generator.get_state() if isinstance(generator, torch.Generator) else torch.empty(0)

    def __len__(self) -> int:
        return self._length

    def numbers_rows(self) -> bool:
        """Whether batches say which rows they hold."""
        return parts(next(self._items(0)))[2] is not None

    def batches(self, epoch: int, start: int = 0) -> Iterator[TensorDict]:
        """The batches of an epoch, from number `start` on."""
        if self._generator is not None and epoch == 0:
            self._generator.set_state(self._state)
        sampler = getattr(self._loader, "sampler", None)
        if sampler is not None and hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)
        begin = 0
        for number, item in enumerate(self._items(epoch)):
            batch = as_batch(item, begin, self._device)
            begin += batch.batch_size[0]
            if number >= start:
                yield batch

    def _items(self, epoch: int) -> Iterator[Any]:
        """What the loader gives. Samplers draw their order when the first batch is asked for, so it is drawn here."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive(self._seed, epoch))
            iterator = iter(self._loader)
            first = next(iterator, None)
        if first is None:
            raise InputError("The loader gives nothing", where="loader", fix="Give one that can be gone through again")
        yield first
        yield from iterator


def as_batch(item: Any, begin: int, device: torch.device) -> TensorDict:
    """One batch of a loader; rows are counted from `begin` on when they bear no numbers.

    Raises:
        InputError: when it is neither (inputs, target) nor a mapping, or tensors differ in their number of rows.
    """
    inputs, target, rows = parts(item)
    count = len(next(iter(inputs.values())))
    uneven = next((name for name, values in inputs.items() if len(values) != count), None)
    if uneven is not None or (target is not None and len(target) != count):
        raise InputError(
            f"A batch has {count} rows, and {len(inputs[uneven]) if uneven else len(target)} "  # type: ignore[arg-type]
            f"of its {uneven or 'target'}",
            where="loader",
        )
    numbers = torch.arange(begin, begin + count) if rows is None else rows
    features = {name: {"values": values.to(device, non_blocking=True)} for name, values in inputs.items()}
    batch: dict[str, Any] = {
        "features": features,
        "present": {},
        "target": {},
        "labelled": {},
        "row": numbers.to(device, non_blocking=True),
        "view": torch.zeros(count, dtype=torch.int64, device=device),
    }
    if target is not None:
        target = target.to(device, non_blocking=True)
        whole = not target.is_floating_point() and target.dim() == 1
        batch["target"] = {TASK: target}
        batch["labelled"] = {TASK: target >= 0 if whole else torch.ones(count, dtype=torch.bool, device=device)}
    return TensorDict(batch, batch_size=[count])


def parts(item: Any) -> tuple[dict[str, Tensor], Tensor | None, Tensor | None]:
    """The inputs of a batch by name, its targets and its row numbers.

    Raises:
        InputError: when it is neither (inputs, target) nor a mapping.
    """
    target = rows = None
    if isinstance(item, Mapping):
        target = next((item[name] for name in _TARGETS if name in item), None)
        rows = next((item[name] for name in _ROWS if name in item), None)
        item = {name: value for name, value in item.items() if name not in (*_TARGETS, *_ROWS)}
    elif isinstance(item, Sequence):
        if len(item) not in (1, 2):
            raise InputError(
                f"A batch has {len(item)} parts",
                where="loader",
                fix="Give (inputs, target), or a mapping with a target",
            )
        item, target = (item[0], item[1] if len(item) == 2 else None)
    inputs = _named(item)
    if not inputs or not all(isinstance(value, Tensor) for value in inputs.values()):
        odd = next((name for name, value in inputs.items() if not isinstance(value, Tensor)), None)
        raise InputError(
            "A batch has no inputs"
            if odd is None
            else f"The input {odd!r} is a {type(inputs[odd]).__name__}, not a tensor",
            where="loader",
            fix="Let the loader's collate_fn give tensors",
        )
    return inputs, target, rows


def _named(inputs: Any) -> dict[str, Any]:
    if isinstance(inputs, Tensor):
        return {INPUT: inputs}
    if isinstance(inputs, Mapping):
        return dict(inputs)
    if isinstance(inputs, Sequence) and not isinstance(inputs, str):
        return {f"{INPUT}_{place}": value for place, value in enumerate(inputs)}
    return {INPUT: inputs}
