"""Prepared rows become batches: in an order that a resumed run finds again, on the device, augmented there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from mmdistill import catalog
from mmdistill.data.augmentations.catalog import Augmentation, AugmentationOptions
from mmdistill.data.mixup import Mixup, blend, require_mixable
from mmdistill.data.order import Order, Rows
from mmdistill.data.prefetch import prefetched
from mmdistill.data.views import derive
from mmdistill.errors import InputError, nearest

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from mmdistill.data.store import PreparedRows

Features = dict[str, dict[str, Tensor]]
Target = tuple["ArrayLike | Tensor", "ArrayLike | Tensor"]


class Loader:
    """Batches of prepared rows.

    A batch is a TensorDict of batch size (B,): `features` (feature → arrays; sequences with `mask`), `present`
    (column → bool (B,)), `target` (task → tensor), `labelled` (task → bool (B,)), `row` int64 (B,), `view` int64
    (B,), and under mixup `mixed` with `partner` int64 (B,), the position in the batch of the row blended in, and
    `share` float32 (B,), what is left of the row itself.

    View 0 is the clean row. When something is augmented or mixed, pass p over the rows shows view p + 1; (seed, column,
    row, view) decide how a row is varied, whatever the batch. Mixup blends rows that agree in their columns and in
    which tasks they have a target for, see `mmdistill.data.mixup`.

    Args:
        prepared: the rows; see `mmdistill.data.store`.
        targets: task to (values, labelled), each with one entry for every prepared row: values (rows, …), labelled
            bool (rows,).
        rows: the row numbers to show.
        batch_size: rows a batch; the last of a pass may be shorter.
        seed: of order, views and mixup.
        shuffle: a new order in every pass; else that of `rows`, as evaluation wants.
        features: the features to gather; all of them when left out.
        augment: column to the options of its modality's augmentation; columns left out are not varied.
        mixup: alpha of the Beta distribution of mixup; off when left out.
        device: where batches go. Augmentation and mixup run there.
        prefetch: batches gathered ahead in a thread; when left out 2 for an accelerator, and 0, no thread, for the CPU.
        drop_last: leave a shorter last batch out. A last batch of one row is left out of a shuffled pass in any case.
        steps_per_epoch: makes an epoch exactly so many full batches of an endless stream of passes, so that a
            baseline on fewer rows takes as many steps of the same batch size as its student.

    Raises:
        InputError: when there are no rows, a name is unknown, or a column cannot be varied or mixed as asked.
    """

    def __init__(
        self,
        prepared: PreparedRows,
        targets: Mapping[str, Target],
        rows: Sequence[int] | Rows | Tensor,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        features: Sequence[str] | None = None,
        augment: Mapping[str, AugmentationOptions | None] | None = None,
        mixup: float | None = None,
        device: torch.device | str = "cpu",
        prefetch: int | None = None,
        drop_last: bool = False,
        steps_per_epoch: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.seed, self.batch_size = seed, batch_size
        self.rows = _checked_rows(rows, prepared.rows)
        if batch_size < 1:
            raise InputError(f"The batch size is {batch_size}, but must be at least 1", where="train.batch_size")
        if steps_per_epoch is not None and steps_per_epoch < 1:
            raise ValueError(f"steps_per_epoch is {steps_per_epoch}, not at least 1")
        self._order = Order(self.rows, batch_size, seed, shuffle, drop_last, steps_per_epoch)
        self._stores = _chosen(prepared.features, features)
        self.columns = tuple(dict.fromkeys(store.info.column for store in self._stores.values()))
        self._present = {column: prepared.present[column].to(self.device) for column in self.columns}
        self._targets = {
            task: _checked_target(task, *pair, prepared.rows, self.device) for task, pair in targets.items()
        }
        self._augmentations = _augmentations(augment or {}, self._stores, derive(seed, "augmentation"))
        self._mixup = None
        if mixup is not None:
            require_mixable(store.info for store in self._stores.values())
            self._mixup = Mixup(mixup, derive(seed, "mixup"))
        self._prefetch = (2 if self.device.type != "cpu" else 0) if prefetch is None else prefetch
        if self._prefetch < 0:
            raise ValueError(f"prefetch is {prefetch}, not at least 0")

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._order)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features in a batch."""
        return tuple(self._stores)

    @property
    def varies(self) -> bool:
        """Whether training sees views other than the clean row."""
        return bool(self._augmentations) or self._mixup is not None

    @property
    def reproducible(self) -> bool:
        """Whether (row, view) alone decides what a row shows, so that signals of a view can be stored."""
        return self._mixup is None and all(step.reproducible for step in self._augmentations.values())

    def batches(self, epoch: int, start: int = 0) -> Iterator[TensorDict]:
        """The batches of an epoch.

        Args:
            epoch: from 0; with the seed it decides order and views.
            start: batches to pass over without reading them, for a run that resumes within an epoch.
        """
        if epoch < 0 or start < 0:
            raise ValueError(f"epoch and start are {epoch} and {start}, not at least 0")
        gathered = self._gathered(epoch, start)
        if self._prefetch:
            gathered = prefetched(gathered, self._prefetch)
        # Closing tells the thread to stop when a consumer leaves early.
        with closing(gathered):
            for rows, views, features in gathered:
                yield self._finish(rows, views, features)

    def _gathered(self, epoch: int, start: int) -> Any:
        """Row numbers, views and features on the host, pinned where that makes the way to the device asynchronous."""
        rows, passes = self._order.epoch(epoch)
        views = passes + 1 if self.varies else torch.zeros_like(passes)
        pin = self.device.type == "cuda"
        for begin in range(start * self.batch_size, len(rows), self.batch_size):
            chosen = rows[begin : begin + self.batch_size]
            seen = views[begin : begin + self.batch_size]
            features = {name: store.gather(chosen) for name, store in self._stores.items()}
            if pin:
                chosen, seen = chosen.pin_memory(), seen.pin_memory()
                features = {
                    name: {key: value.pin_memory() for key, value in arrays.items()}
                    for name, arrays in features.items()
                }
            yield chosen, seen, features

    def _finish(self, rows: Tensor, views: Tensor, features: Features) -> TensorDict:
        """The batch on the device, augmented and mixed."""
        if self.device.type != "cpu":
            rows, views = (tensor.to(self.device, non_blocking=True) for tensor in (rows, views))
            features = {
                name: {key: value.to(self.device, non_blocking=True) for key, value in arrays.items()}
                for name, arrays in features.items()
            }
        present = {column: flags.index_select(0, rows) for column, flags in self._present.items()}
        labelled = {task: flags.index_select(0, rows) for task, (_, flags) in self._targets.items()}
        for column, step in self._augmentations.items():
            step.apply_to(features, rows, views, present[column])
        batch: dict[str, Any] = {
            "features": features,
            "present": present,
            "target": {task: values.index_select(0, rows) for task, (values, _) in self._targets.items()},
            "labelled": labelled,
            "row": rows,
            "view": views,
        }
        if self._mixup is not None:
            kinds = {f"column {name}": flags for name, flags in present.items()}
            kinds |= {f"task {name}": flags for name, flags in labelled.items()}
            partner, share = self._mixup.draw(rows, views, kinds)
            batch["features"] = {name: blend(arrays, partner, share) for name, arrays in features.items()}
            batch["mixed"] = {"partner": partner, "share": share}
        return TensorDict(batch, batch_size=[len(rows)])


class _ColumnAugmentation:
    """The augmentation of one column: parameters drawn once, applied to each of its features."""

    def __init__(
        self, augmentation: Augmentation, options: AugmentationOptions, seed: int, infos: Mapping[str, Any]
    ) -> None:
        self._augmentation, self._options, self._seed, self._infos = augmentation, options, seed, infos
        self.reproducible = options.reproducible

    def apply_to(self, features: Features, rows: Tensor, views: Tensor, present: Tensor) -> None:
        """Replace the column's features, in place in the dictionary."""
        parameters = self._augmentation.parameters(self._options, self._seed, rows, views)
        for name, info in self._infos.items():
            features[name] = self._augmentation.apply(features[name], parameters, info, present)


def _checked_rows(rows: Sequence[int] | Rows | Tensor, count: int) -> Rows:
    numbers = np.ascontiguousarray(rows, dtype=np.int64)
    if numbers.ndim != 1:
        raise ValueError(f"rows have shape {numbers.shape}, not (N,)")
    if not len(numbers):
        raise InputError("There are no rows to show", fix="Check the split that these rows come from")
    if numbers.min() < 0 or numbers.max() >= count:
        raise ValueError(f"rows run from {numbers.min()} to {numbers.max()}, but there are {count} prepared rows")
    # A copy, since the slices that batches are would otherwise lead into the caller's array.
    return numbers.copy()


def _checked_target(task: str, values: Any, labelled: Any, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    pair = torch.as_tensor(values).to(device), torch.as_tensor(labelled).to(device)
    for what, tensor in zip(("values", "labelled"), pair, strict=True):
        if tensor.dim() < 1 or len(tensor) != count:
            raise ValueError(f"The {what} of task {task!r} have shape {tuple(tensor.shape)} for {count} prepared rows")
    if pair[1].dtype != torch.bool or pair[1].dim() != 1:
        raise ValueError(f"labelled of task {task!r} is {pair[1].dtype} of {pair[1].dim()} axes, not bool (rows,)")
    return pair


def _chosen(stores: Mapping[str, Any], names: Sequence[str] | None) -> dict[str, Any]:
    if names is None:
        return dict(stores)
    for name in names:
        if name not in stores:
            raise InputError(f"There is no prepared feature {name!r}", fix=nearest(name, list(stores)))
    return {name: stores[name] for name in dict.fromkeys(names)}


def _augmentations(
    augment: Mapping[str, AugmentationOptions | None], stores: Mapping[str, Any], seed: int
) -> dict[str, _ColumnAugmentation]:
    """The columns that vary. A column of `augment` whose features are not gathered is passed over."""
    chosen = {}
    for column, options in augment.items():
        infos = {name: store.info for name, store in stores.items() if store.info.column == column}
        if options is None or not infos or not options.varies:
            continue
        entry = catalog.get("augmentation", next(iter(infos.values())).type, where=f"data.columns.{column}.augment")
        if not isinstance(options, entry.options):
            raise InputError(
                f"{type(options).__name__} does not vary a column of type {entry.name}",
                where=f"data.columns.{column}.augment",
                fix=f"Use the options of {entry.options.__name__}",
            )
        chosen[column] = _ColumnAugmentation(entry.load(), options, derive(seed, column), infos)
    return chosen
