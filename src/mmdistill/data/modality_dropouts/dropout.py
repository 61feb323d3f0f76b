"""What every modality dropout is: for each row, which of the columns it has a model is shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn


class ModalityDropout(nn.Module, ABC):
    """Hides columns of a row while a model learns, so that it learns to do without them.

    Every draw is a pure function of seed, row and step (`data/views.py`) and of what `observe` was told, so that a
    resumed training hides the same columns. What is learnt from `observe` is held in buffers, which are saved in
    checkpoints. A row never loses all that it has.

    Args:
        columns: the columns that the model reads, sorted.
        seed: of the run.
        total_steps: optimiser steps of the training.
    """

    reads_losses = False
    """Whether `observe` has to be told the loss of every row."""

    def __init__(self, columns: Sequence[str], *, seed: int, total_steps: int) -> None:
        super().__init__()
        self.columns, self.seed, self.total_steps = tuple(columns), seed, total_steps

    @abstractmethod
    def forward(self, present: Mapping[str, Tensor], rows: Tensor, step: int) -> dict[str, Tensor]:
        """Which columns of each row are shown.

        Args:
            present: column → bool (B,): which each row has. It is not changed.
            rows: int64 (B,), row numbers.
            step: optimiser step, counted from 0.

        Returns:
            column → bool (B,). A row that has nothing has nothing still.
        """

    def observe(self, shown: Mapping[str, Tensor], losses: Tensor, known: Tensor) -> None:
        """Take note of how hard each row was with what was shown of it. Nothing here waits for the device.

        Args:
            shown: what `forward` gave.
            losses: (B,) supervised loss of each row, without gradient.
            known: (B,) what each row counts; zero without a target.
        """
