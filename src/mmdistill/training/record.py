"""What every training step said, kept on the device and read now and then, so that no step waits for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmdistill.distill.terms import Terms
from mmdistill.errors import MMDistillError

GRADIENT = "gradient_norm"


class NotFiniteError(MMDistillError):
    """A loss or a gradient became NaN or infinite (exit status 1).

    Attributes:
        step: the optimiser step, counted from 1, at which it was first seen.
        term: the loss term at fault, ``total``, or ``gradient_norm`` when every loss was finite.
        rows: row numbers of the batch.
    """

    def __init__(self, what: str, *, where: str, fix: str, step: int, term: str, rows: list[int]) -> None:
        super().__init__(what, where=where, fix=fix)
        self.step, self.term, self.rows = step, term, rows


@dataclass(frozen=True)
class Reading:
    """One batch as read from the device.

    Args:
        values: term → value, `total` included.
        gradient_norm: norm of the whole gradient if the batch completed an optimiser step, else None.
        rows: number of rows of the batch.
    """

    values: dict[str, float]
    gradient_norm: float | None
    rows: int


class Record:
    """Loss terms and gradient norms of the batches since the last reading.

    Adding a batch costs one small kernel and no synchronisation; `read` makes one transfer. As every batch is kept, the
    reading knows the first batch that went wrong, which of its terms did, and its rows.

    Args:
        capacity: batches held; `read` has to be called before more are added.
        skips_overflow: a gradient that is not finite is no failure, because a gradient scaler leaves that step out.
    """

    def __init__(self, capacity: int, *, skips_overflow: bool = False) -> None:
        self.capacity = capacity
        self._skips_overflow = skips_overflow
        self._names: tuple[str, ...] = ()
        self._buffer = torch.empty(0)
        self._batches: list[tuple[int, Tensor, bool]] = []

    @property
    def room(self) -> int:
        """Batches that can be added before `read` is due."""
        return self.capacity - len(self._batches)

    @torch.no_grad()
    def add(self, step: int, terms: Terms, rows: Tensor) -> None:
        """Keep the terms of a batch.

        Args:
            step: index of the optimiser step that the batch belongs to.
            terms: of the batch.
            rows: int64 (B,), its row numbers, kept by reference.
        """
        if not self._names:
            self._names = (*terms.parts, "total")
            self._buffer = torch.zeros(self.capacity, len(self._names) + 1, device=terms.total.device)
        elif len(terms.parts) + 1 != len(self._names):
            raise MMDistillError(
                f"A step gave the terms {sorted(terms.parts)}, earlier ones {sorted(self._names[:-1])}"
            )
        target = self._buffer[len(self._batches), :-1]
        target.copy_(torch.stack([terms.parts[name] for name in self._names[:-1]] + [terms.total]))
        self._batches.append((step, rows, False))

    @torch.no_grad()
    def add_gradient_norm(self, norm: Tensor) -> None:
        """Keep the gradient norm, a scalar, of the optimiser step that the last batch completed."""
        step, rows, _ = self._batches[-1]
        self._buffer[len(self._batches) - 1, -1].copy_(norm)
        self._batches[-1] = step, rows, True

    def read(self) -> list[Reading]:
        """Everything since the last reading, in order; waits for the device.

        Raises:
            NotFiniteError: when a term or a gradient norm is NaN or infinite.
        """
        held, self._batches = self._batches, []
        if not held:
            return []
        values: list[list[float]] = self._buffer[: len(held)].cpu().double().tolist()
        readings = []
        for row, (step, rows, completes) in zip(values, held, strict=True):
            *losses, norm = row
            if not all(map(math.isfinite, losses)) or not (math.isfinite(norm) or self._skips_overflow):
                raise self._failure(losses, step, rows)
            named = dict(zip(self._names, losses, strict=True))
            readings.append(Reading(named, norm if completes else None, rows.numel()))
        return readings

    def _failure(self, losses: Sequence[float], step: int, rows: Tensor) -> NotFiniteError:
        bad = [(name, value) for name, value in zip(self._names, losses, strict=True) if not math.isfinite(value)]
        term, value = bad[0] if bad else (GRADIENT, math.nan)
        numbers = rows.cpu().tolist()
        if term == GRADIENT:
            what = "The gradient is not finite though every loss is"
        else:
            what = f"The loss term {term!r} became {'NaN' if math.isnan(value) else 'infinite'}"
        return NotFiniteError(
            f"{what}; the batch holds the rows {', '.join(map(str, numbers))}",
            where=f"step {step + 1}",
            fix="Lower train.learning_rate, set train.clip_norm (1.0 is common), train in float32, or look at these "
            "rows; the last checkpoint is from before this step",
            step=step + 1,
            term=term,
            rows=numbers,
        )
