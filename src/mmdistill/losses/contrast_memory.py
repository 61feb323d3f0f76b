"""Memory banks for contrast between rows: what each side's embedding of every training row was when last seen."""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch import Tensor, nn

from mmdistill.errors import InputError
from mmdistill.losses.counter_random import drawn_below, mixed
from mmdistill.losses.unit_vectors import unit_vectors

Contrast: TypeAlias = tuple[Tensor, Tensor]


class ContrastMemory(nn.Module):
    """An embedding of each side for each training row, and random other rows to contrast a row with.

    Rows stand in the order of their classes, so that the rows that are no negatives of a row are one stretch: a draw
    from the others is one random number and one addition, whatever the number of rows. Which rows are drawn is a
    function of the seed, the step and the row. Nothing in a step grows with the number of rows but the depth of the
    search for a row's place (its logarithm).

    Args:
        rows: int64 (N,), the row numbers of training, each once.
        targets: int64 (N,), their classes, so that negatives are of other classes; negative where there is none. None
            for negatives among all other rows.
        dimension: of the embeddings.
        negatives: drawn for each row, one as likely as another, so that one may come twice; at most N − 1.
        dtype: of the banks.
        seed: of what is drawn.

    Raises:
        InputError: when rows repeat, or a row has no others to be contrasted with.
    """

    student_bank: Tensor
    teacher_bank: Tensor
    normalizers: Tensor
    counter: Tensor
    row_numbers: Tensor
    places: Tensor
    stretch_start: Tensor
    stretch_length: Tensor

    def __init__(
        self,
        rows: Tensor,
        targets: Tensor | None,
        *,
        dimension: int,
        negatives: int,
        dtype: torch.dtype,
        seed: int,
    ) -> None:
        super().__init__()
        order, start, length = _stretches(rows, targets)
        self.rows = len(rows)
        self.negatives = min(negatives, self.rows - 1)
        if self.negatives < 1 or int(length.max()) == self.rows:
            raise InputError(
                "A memory of rows needs, for each row, another row to contrast it with, and there is none",
                fix="Give more rows; where all are of one class, set negatives_from: other_rows",
            )
        sorted_numbers, by_number = rows[order].sort()
        if bool((sorted_numbers[1:] == sorted_numbers[:-1]).any()):
            raise InputError("A row number is given more than once", fix="Give each training row once")
        # The last entry is nobody's: what must not be written anywhere is written there.
        bound = 1 / math.sqrt(dimension / 3)
        for side in ("student", "teacher"):
            bank = torch.empty(self.rows + 1, dimension, dtype=dtype).uniform_(-bound, bound)
            self.register_buffer(f"{side}_bank", bank)
        self.register_buffer("normalizers", torch.zeros(2))
        # Seed in the upper half, steps in the lower: restored together, whatever the memory was built with.
        self.register_buffer("counter", torch.tensor(seed % 2**31 * 2**32))
        self.register_buffer("row_numbers", sorted_numbers)
        self.register_buffer("places", by_number)
        self.register_buffer("stretch_start", start)
        self.register_buffer("stretch_length", length)

    def find(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """Places of row numbers in the banks, int64 (B,), and whether each is there, bool (B,)."""
        rank = torch.searchsorted(self.row_numbers, row).clamp(max=self.rows - 1)
        return self.places[rank], self.row_numbers[rank] == row

    def draw(self, place: Tensor) -> Tensor:
        """Places to contrast rows with, int64 (B, 1 + negatives): each row's own first, then random others."""
        start, length = self.stretch_start[place, None], self.stretch_length[place, None]
        # A key of the step and the row, then a counter: the same row draws the same wherever it stands in the batch.
        key = mixed(mixed(self.counter.clone())[None] + place)
        counter = torch.arange(self.negatives, device=place.device)
        drawn = drawn_below(key[:, None] + counter, self.rows - length)
        return torch.cat((place[:, None], drawn + length * (drawn >= start)), dim=1)

    def contrast(self, places: Tensor, dtype: torch.dtype) -> Contrast:
        """What the student's and the teacher's bank hold at places (B, K): (B, K, dimension) each."""
        student, teacher = (
            bank.index_select(0, places.flatten()).view(*places.shape, bank.shape[1]).to(dtype)
            for bank in (self.student_bank, self.teacher_bank)
        )
        return student, teacher

    @torch.no_grad()
    def fix_normalizers(self, found: Tensor) -> Tensor:
        """The normalisers (2,): those of the first training batch, fixed from then on; `found` until there was one."""
        normalizers = torch.where(self.normalizers > 0, self.normalizers, found.to(self.normalizers.dtype))
        if self.training:
            self.normalizers.copy_(normalizers)
        return normalizers

    @torch.no_grad()
    def update(self, place: Tensor, counts: Tensor, student: Tensor, teacher: Tensor, momentum: float) -> None:
        """Replace rows by momentum · old + (1 − momentum) · new at length 1, and take a step.

        Args:
            place: int64 (B,); a row at most once among those that count.
            counts: bool (B,), rows that are to be replaced.
            student: (B, dimension), embeddings of length 1.
            teacher: likewise.
            momentum: share of the old embedding.
        """
        place = torch.where(counts, place, self.rows)
        for bank, new in ((self.student_bank, student), (self.teacher_bank, teacher)):
            old = bank[place]
            moved = unit_vectors(momentum * old.to(new.dtype) + (1 - momentum) * new).to(bank.dtype)
            bank.index_copy_(0, place, torch.where(counts[:, None], moved, old))
        self.counter.add_(1)


def _stretches(rows: Tensor, targets: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The order of the rows in the banks; for each place there, start and length of the stretch of its class."""
    number = len(rows)
    if targets is None:
        return torch.arange(number), torch.arange(number), torch.ones(number, dtype=torch.int64)
    if targets.shape != rows.shape:
        raise InputError(f"targets has shape {tuple(targets.shape)}, but rows has {tuple(rows.shape)}")
    # A row without a class is the only one of its own.
    classes = torch.where(targets >= 0, targets, targets.max().clamp(min=-1) + 1 + torch.arange(number))
    order = classes.argsort(stable=True)
    _, member, length = torch.unique_consecutive(classes[order], return_inverse=True, return_counts=True)
    start = length.cumsum(0) - length
    return order, start[member], length[member]
