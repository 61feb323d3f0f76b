"""What the teacher says about a batch, computed for it or read from what was stored."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from mmdistill.distill.objective import PRESENT
from mmdistill.errors import InputError, nearest
from mmdistill.recipe.schema import SignalsSpec

if TYPE_CHECKING:
    from tensordict import TensorDict

    from mmdistill.data.loader import Loader
    from mmdistill.distill.padded_sizes import PaddedSizes
    from mmdistill.models.any_model import AnyModel

DEVICE_BYTES = 2 << 30
"""Stored signals up to this size are kept on the accelerator; larger ones stay mapped, and reading them waits."""


class Signals(Protocol):
    """A source of teacher outputs; the training loop knows teachers as nothing else."""

    def __call__(self, batch: TensorDict) -> dict[str, Tensor]:
        """The teacher's taps for the rows and views of a batch, without gradient.

        ``row.present``, bool (B,), stands beside them where the teacher may have seen nothing of a row.
        """


class LiveTeacher(nn.Module):
    """The teacher's outputs for the very features of the batch, on the view that the student sees.

    The model is frozen: its parameters ask for no gradient and it is in evaluation mode, whatever happens to the mode
    of what holds it. It is part of no phase, so no checkpoint holds it.

    Args:
        model: called as ``model(features, present)``; its parameters are frozen in place.
        taps: outputs wanted.
        columns: the columns that it reads, where a row may lack all of them; left out, every row is taken to have some.
    """

    def __init__(self, model: nn.Module, taps: Iterable[str], columns: Collection[str] = ()) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)
        self.taps = tuple(sorted(taps))
        self.columns = tuple(sorted(columns))
        self.train(False)

    def train(self, mode: bool = True) -> LiveTeacher:  # noqa: ARG002  the signature is PyTorch's
        """Stay in evaluation mode: batch statistics and dropout of a frozen teacher never wake up."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, batch: TensorDict) -> dict[str, Tensor]:
        """See `Signals`.

        Raises:
            InputError: when the model has no such tap.
        """
        if self.model.training:
            self.model.eval()
        outputs: Mapping[str, Tensor] = self.model(batch["features"], batch["present"])
        said = {}
        for tap in self.taps:
            if tap not in outputs:
                raise InputError(f"The teacher has no tap {tap!r}", where="distill", fix=nearest(tap, list(outputs)))
            said[tap] = outputs[tap].detach()
        if self.columns:
            said[PRESENT] = rows_seen(batch, self.columns)
        return said


def rows_seen(batch: TensorDict, columns: Collection[str]) -> Tensor:
    """Bool (B,): the rows that have any of the columns, of which there is at least one."""
    flags: list[Tensor] = [batch["present"][column] for column in columns]
    return torch.stack(flags).any(dim=0) if len(flags) > 1 else flags[0]


class StoredTeacher:
    """The teacher's outputs for clean rows, computed earlier and found again by row number.

    A row that was not stored, or a view that the teacher was not shown, gives NaN and so ends the training at its next
    reading with the row named, instead of teaching something wrong. Looking for it in every batch would wait for the
    device.

    Args:
        values: tap → (N + 1, …), one entry for each stored row and a last one that stands for all others: NaN, or
            zero for whole numbers and flags.
        rows: int64 (N,), their row numbers.
        present: bool (N,), the rows of which the teacher saw anything; None when of all.
        augmented: whether anything that the teacher reads is varied in training, so that only view 0 is what it saw.
            When nothing is, every view of a row looks the same to the teacher, and all of them are served.
        sizes: of the taps that grow with the padding of a batch: they are stored at their largest, and given at the
            size that the teacher itself would give; None where there are none.
        device: where batches are.
    """

    def __init__(
        self,
        values: Mapping[str, Tensor],
        rows: Tensor,
        *,
        present: Tensor | None = None,
        augmented: bool = False,
        sizes: PaddedSizes | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        device = torch.device(device)
        count = len(rows)
        small = sum(value.nbytes for value in values.values()) <= DEVICE_BYTES
        self._host = device.type != "cpu" and not small
        home = torch.device("cpu") if self._host else device
        self._values = {tap: value.to(home) for tap, value in values.items()}
        position = torch.full((int(rows.max()) + 2,), count, dtype=torch.int64)
        position[rows] = torch.arange(count)
        self._position = position.to(home)
        self._missing = torch.tensor(count, device=home)
        self._present = None
        if present is not None and not bool(present.all()):
            self._present = torch.cat([present, torch.zeros(1, dtype=torch.bool)]).to(home)
        self._augmented, self._sizes = augmented, sizes

    def __call__(self, batch: TensorDict) -> dict[str, Tensor]:
        """See `Signals`."""
        rows: Tensor = batch["row"]
        if self._host:
            rows = rows.cpu()
        position = self._position[rows.clamp(max=len(self._position) - 1)]
        if self._augmented:
            position = torch.where(batch["view"].to(position.device) == 0, position, self._missing)
        sizes = {} if self._sizes is None else self._sizes(batch)
        said = {
            tap: value[:, *map(slice, sizes.get(tap, ()))].index_select(0, position)
            for tap, value in self._values.items()
        }
        if self._present is not None:
            # A row that is not stored stays in, so that its NaN is seen.
            said[PRESENT] = self._present[position] | (position == self._missing)
        if self._host:
            device = batch["row"].device
            said = {tap: value.to(device, non_blocking=True) for tap, value in said.items()}
        return said


def store_or_not(spec: SignalsSpec, teacher_columns: Collection[str], varied: Collection[str], mixup: bool) -> bool:
    """Whether signals are stored: by the recipe, or, when it does not say, whenever that changes nothing.

    Args:
        spec: of the recipe.
        teacher_columns: the columns that the teacher reads.
        varied: the columns that are augmented in training.
        mixup: whether rows are mixed in training.

    Raises:
        InputError: when the recipe wants stored signals and the teacher would have seen other inputs than the student.
    """
    seen = sorted(set(teacher_columns) & set(varied))
    possible = not seen and not mixup
    if spec.store is None or possible:
        return possible if spec.store is None else spec.store
    if not spec.store:
        return False
    why = "rows are mixed by train.mixup" if mixup else f"the column {seen[0]!r}, which the teacher reads, is augmented"
    raise InputError(
        f"Signals stored for clean rows cannot be used, because {why}",
        where="distill.signals.store",
        fix="Set distill.signals.store to false, or switch that off",
    )


def choose_signals(
    spec: SignalsSpec,
    teacher: AnyModel,
    taps: Iterable[str],
    clean: Loader,
    *,
    varied: Collection[str],
    mixup: bool,
    folder: Path | None,
    identity: Mapping[str, str],
    present: Tensor | None = None,
) -> Signals:
    """The source of signals that suits the recipe: stored where the teacher always sees a row as it is, else live.

    Args:
        spec: of the recipe.
        teacher: a finished model with `columns`.
        taps: what the objective needs (`objective.teacher_taps`).
        clean: loader of the training rows as they are, each once.
        varied: the columns that are augmented in training.
        mixup: whether rows are mixed in training.
        folder: where signals are stored; in memory only when None.
        identity: what the signals depend on beside the teacher's weights, such as the fingerprint of the prepared rows.
        present: bool (N,), in ascending order of row numbers: which training rows have a column that the teacher reads;
            None when all have.

    Raises:
        InputError: when stored signals are asked for and cannot be right, or those in `folder` are not these.
    """
    from mmdistill.distill.store import stored_teacher

    columns = tuple(getattr(teacher, "columns", ()))
    if store_or_not(spec, columns, varied, mixup):
        return stored_teacher(teacher, taps, clean, folder=folder, identity=identity, present=present)
    some_absent = present is not None and not bool(present.all())
    return LiveTeacher(teacher, taps, columns if some_absent else ()).to(clean.device)
