"""What every training step said, kept on the device and read now and then, so that no step waits for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

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
        teacher: whether what the teacher said was not finite either.
    """

    def __init__(
        self, what: str, *, where: str, fix: str, step: int, term: str, rows: list[int], teacher: bool = False
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.step, self.term, self.rows, self.teacher = step, term, rows, teacher


@dataclass(frozen=True)
class Reading:
    """One batch as read from the device.

    Args:
        values: term → value, `total` included.
        gradient_norm: norm of the whole gradient if the batch completed an optimiser step, else None.
        rows: number of rows of the batch.
        term_norms: term → norm of its gradient over the models' weights if it was measured, else empty.
        beside: name → value of what is learnt beside the model.
    """

    values: dict[str, float]
    gradient_norm: float | None
    rows: int
    term_norms: dict[str, float] = field(default_factory=dict)
    beside: dict[str, float] = field(default_factory=dict)


@dataclass
class _Held:
    """A batch whose numbers wait on the device."""

    step: int
    rows: Tensor
    completes: bool = False
    measured: bool = False


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
        self._beside: tuple[str, ...] = ()
        self._buffer = torch.empty(0)
        self._batches: list[_Held] = []

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
        count = len(terms.parts)
        if not self._names:
            self._names, self._beside = (*terms.parts, "total"), tuple(terms.beside)
            # The terms, the total, what is beside them, what the teacher said, the gradient norm of the step, and those
            # of the terms.
            width = 2 * count + 3 + len(self._beside)
            self._buffer = torch.zeros(self.capacity, width, device=terms.total.device)
        elif count + 1 != len(self._names):
            raise MMDistillError(
                f"A step gave the terms {sorted(terms.parts)}, earlier ones {sorted(self._names[:-1])}"
            )
        said = [] if terms.teacher is None else [terms.teacher]
        beside = [terms.beside[name] for name in self._beside]
        values = torch.stack([*(terms.parts[name] for name in self._names[:-1]), terms.total, *beside, *said])
        self._buffer[len(self._batches), : len(values)].copy_(values)
        self._batches.append(_Held(step, rows))

    @torch.no_grad()
    def add_gradient_norm(self, norm: Tensor) -> None:
        """Keep the gradient norm, a scalar, of the optimiser step that the last batch completed."""
        self._buffer[len(self._batches) - 1, self._losses + 1].copy_(norm)
        self._batches[-1].completes = True

    @torch.no_grad()
    def add_term_norms(self, norms: Tensor) -> None:
        """Keep the gradient norms (terms,) of the terms of the last batch."""
        self._buffer[len(self._batches) - 1, self._losses + 2 :].copy_(norms)
        self._batches[-1].measured = True

    def read(self) -> list[Reading]:
        """Everything since the last reading, in order; waits for the device.

        Raises:
            NotFiniteError: when a term or a gradient norm is NaN or infinite.
        """
        held, self._batches = self._batches, []
        if not held:
            return []
        values: list[list[float]] = self._buffer[: len(held)].cpu().double().tolist()
        self._buffer[: len(held)].zero_()
        names, count = (*self._names, *self._beside), self._losses
        readings = []
        for row, batch in zip(values, held, strict=True):
            losses, (said, norm), term_norms = row[:count], row[count : count + 2], row[count + 2 :]
            if not all(map(math.isfinite, losses)) or not (math.isfinite(norm) or self._skips_overflow):
                raise self._failure(names, losses, batch, teacher=not math.isfinite(said))
            named = dict(zip(self._names, losses, strict=False))
            beside = dict(zip(self._beside, losses[len(self._names) :], strict=True))
            measured = dict(zip(self._names[:-1], term_norms, strict=True)) if batch.measured else {}
            norm_of_step = norm if batch.completes else None
            readings.append(Reading(named, norm_of_step, batch.rows.numel(), measured, beside))
        return readings

    @property
    def _losses(self) -> int:
        """How many of the numbers of a batch are losses."""
        return len(self._names) + len(self._beside)

    def _failure(self, names: Sequence[str], losses: Sequence[float], batch: _Held, *, teacher: bool) -> NotFiniteError:
        bad = [(name, value) for name, value in zip(names, losses, strict=True) if not math.isfinite(value)]
        term, value = bad[0] if bad else (GRADIENT, math.nan)
        numbers = batch.rows.cpu().tolist()
        fix = (
            "Lower train.learning_rate, set train.clip_norm (1.0 is common), train in float32, or look at these "
            "rows; the last checkpoint is from before this step"
        )
        if term == GRADIENT:
            what = "The gradient is not finite though every loss is"
        else:
            what = f"The loss term {term!r} became {'NaN' if math.isnan(value) else 'infinite'}"
        if teacher and term != GRADIENT:
            what += " because the teacher's outputs are NaN or infinite"
            fix = (
                "Look at the teacher: apply it to these rows, or train it again; stored signals hold NaN for rows and "
                "views that were not stored"
            )
        return NotFiniteError(
            f"{what}; the batch holds the rows {', '.join(map(str, numbers))}",
            where=f"step {batch.step + 1}",
            fix=fix,
            step=batch.step + 1,
            term=term,
            rows=numbers,
            teacher=teacher,
        )
