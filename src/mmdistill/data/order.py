"""The order in which a loader shows its rows: a pure function of (seed, epoch), so that a resumed run continues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rows = NDArray[np.int64]


def permutation(count: int, seed: int, number: int) -> Rows:
    """The `number`-th shuffle of 0 … count - 1 under `seed`, int64 (count,).

    The counter-based generator Philox (Salmon et al., 2011) is keyed with (seed, number), so that any shuffle is made
    without those before it.
    """
    key = np.array([seed & ((1 << 64) - 1), number], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).permutation(count)


@dataclass(frozen=True)
class Order:
    """How rows are laid out in batches.

    Without `steps` an epoch is one pass over the rows. With `steps` it is that many full batches of an endless stream
    of passes, epoch e continuing where epoch e - 1 ended; a batch may hold the end of one pass and the start of the
    next.

    Args:
        rows: int64 (N,), the row numbers to show.
        batch_size: rows a batch.
        seed: of the shuffles.
        shuffle: a new order for every pass; else that of `rows`.
        drop_last: leave out the rows that do not fill a batch. A single row that would make a batch of its own is left
            out of a shuffled pass in any case, since batch statistics of one row mean nothing.
        steps: batches an epoch, where that is fixed.
    """

    rows: Rows
    batch_size: int
    seed: int
    shuffle: bool
    drop_last: bool = False
    steps: int | None = None

    def __len__(self) -> int:
        """Batches an epoch."""
        if self.steps is not None:
            return self.steps
        whole, rest = divmod(len(self.rows), self.batch_size)
        lonely = self.shuffle and rest == 1 and whole > 0
        return whole + (rest > 0 and not self.drop_last and not lonely)

    def epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        """The rows of an epoch in order, and the number of the pass that shows each: two int64 tensors of one length.

        Batch i is the slice from i · batch_size to (i + 1) · batch_size.
        """
        if self.steps is None:
            rows = self._pass(epoch)[: len(self) * self.batch_size]
            return torch.from_numpy(rows), torch.full((len(rows),), epoch, dtype=torch.int64)
        count, first = len(self.rows), epoch * self.steps * self.batch_size
        last = first + self.steps * self.batch_size
        passes = range(first // count, -(-last // count))
        rows = np.concatenate([self._pass(number) for number in passes])
        numbers = np.repeat(np.arange(passes.start, passes.stop, dtype=np.int64), count)
        begin = first - passes.start * count
        span = slice(begin, begin + last - first)
        return torch.from_numpy(rows[span]), torch.from_numpy(numbers[span])

    def _pass(self, number: int) -> Rows:
        """A copy in any case, for batches are slices of it and may be written to."""
        return self.rows[permutation(len(self.rows), self.seed, number)] if self.shuffle else self.rows.copy()
