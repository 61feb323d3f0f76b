"""Modality dropout that shows more often what the model finds hard.

After the idea of Wei, Luo and Luo, "MMANet: Margin-Aware Distillation and Modality-Aware Regularization for Incomplete
Multimodal Learning", CVPR 2023, arXiv:2304.08028, that a model is weak at some combinations of modalities and should
be drawn to them. The paper finds hard combinations once, in a first training, and gives their rows a further loss;
here the loss of every combination is followed while training, and decides how often it is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mmdistill.data.modality_dropouts.catalog import DifficultyOptions
from mmdistill.data.modality_dropouts.dropout import ModalityDropout
from mmdistill.data.modality_dropouts.stacking import by_column, stacked
from mmdistill.data.modality_dropouts.weighted_choice import weighted_choice
from mmdistill.data.views import uniform
from mmdistill.errors import InputError

MOST_COLUMNS = 10


class Difficulty(ModalityDropout):
    """A row is shown one of the subsets S of what it has, with the chance ε / n + (1 - ε) · softmax(loss_S / T).

    n is the number of its subsets that are not empty; the softmax is over these. ``loss_S`` is an exponential mean of
    the supervised losses of rows that were shown exactly S. A subset that no row with a target was shown yet counts as
    hard as the hardest.

    Args:
        columns: see `ModalityDropout`; at most 10.
        options: see `DifficultyOptions`.
        seed: see `ModalityDropout`.
        total_steps: see `ModalityDropout`.

    Attributes:
        losses: (2^M - 1,) of the subsets; the binary digits of index + 1 say which columns, in sorted order, belong.
        observed: bool (2^M - 1,), the subsets whose loss is known.

    Raises:
        InputError: when there are more columns.
    """

    reads_losses = True
    losses: Tensor
    observed: Tensor
    codes: Tensor

    def __init__(self, columns: Sequence[str], options: DifficultyOptions, *, seed: int, total_steps: int) -> None:
        super().__init__(columns, seed=seed, total_steps=total_steps)
        if len(columns) > MOST_COLUMNS:
            raise InputError(
                f"The modality dropout `difficulty` is for at most {MOST_COLUMNS} columns, not {len(columns)}",
                where="modality_dropout",
                fix="Use `independent` or `uniform`",
            )
        self.temperature, self.exploration, self.momentum = options.temperature, options.exploration, options.momentum
        subsets = (1 << len(columns)) - 1
        self.register_buffer("losses", torch.zeros(subsets))
        self.register_buffer("observed", torch.zeros(subsets, dtype=torch.bool))
        self.register_buffer("codes", torch.arange(1, subsets + 1), persistent=False)

    def forward(self, present: Mapping[str, Tensor], rows: Tensor, step: int) -> dict[str, Tensor]:
        """See `ModalityDropout`."""
        had = stacked(present)
        chosen = weighted_choice(
            self.chances(had), uniform(self.seed, rows, step, "difficulty-driven modality dropout")
        )
        digits = (chosen + 1).unsqueeze(1) >> torch.arange(had.shape[1], device=had.device)
        return by_column(had & (digits & 1 == 1), present)

    def chances(self, had: Tensor) -> Tensor:
        """The chance of every subset for rows that have these columns.

        Args:
            had: bool (B, M), columns in sorted order.

        Returns:
            (B, 2^M - 1); zeros for a row that has nothing.
        """
        possible = (self.codes & ~_code(had).unsqueeze(1)) == 0
        known = torch.where(self.observed, self.losses, -torch.inf)
        hardest = torch.where(self.observed.any(), known.max(), 0.0)
        scores = torch.where(self.observed, self.losses, hardest) / self.temperature
        sharp = torch.where(possible, scores, torch.finfo(scores.dtype).min).softmax(dim=1)
        even = 1 / possible.sum(dim=1, keepdim=True).clamp(min=1)
        return torch.where(possible, self.exploration * even + (1 - self.exploration) * sharp, 0.0)

    @torch.no_grad()
    def observe(self, shown: Mapping[str, Tensor], losses: Tensor, known: Tensor) -> None:
        """See `ModalityDropout`. A loss that is not finite is left out."""
        counts = torch.where(losses.isfinite(), known, 0).to(self.losses.dtype)
        values = torch.where(counts > 0, losses, 0).to(self.losses.dtype)
        # A table of rows and subsets: adding by index is not deterministic on a GPU.
        belongs = _code(stacked(shown)).unsqueeze(1) == self.codes
        counted = torch.where(belongs, counts.unsqueeze(1), 0)
        total = counted.sum(dim=0)
        mean = (counted * values.unsqueeze(1)).sum(dim=0) / total.clamp(min=torch.finfo(total.dtype).tiny)
        later = torch.lerp(mean, self.losses, self.momentum)
        seen = total > 0
        self.losses.copy_(torch.where(seen, torch.where(self.observed, later, mean), self.losses))
        self.observed.logical_or_(seen)


def _code(flags: Tensor) -> Tensor:
    """Bool (B, M) to int64 (B,): the flags as binary digits, the first column the lowest."""
    places = torch.arange(flags.shape[1], device=flags.device)
    return (flags.to(torch.int64) << places).sum(dim=1)
