"""Modality dropout over all subsets alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mmdistill.data.modality_dropouts.catalog import UniformOptions
from mmdistill.data.modality_dropouts.dropout import ModalityDropout
from mmdistill.data.modality_dropouts.stacking import by_column, stacked
from mmdistill.data.views import integers
from mmdistill.errors import InputError

MOST_COLUMNS = 30
_BITS = 31


class Uniform(ModalityDropout):
    """Each row is shown a subset drawn uniformly from all that are not empty of what it has.

    With K columns each subset has the chance 1 / (2^K - 1), up to one part in 2^(31 - K).

    Args:
        columns: see `ModalityDropout`; at most 30.
        options: see `UniformOptions`.
        seed: see `ModalityDropout`.
        total_steps: see `ModalityDropout`.

    Raises:
        InputError: when there are more columns.
    """

    def __init__(self, columns: Sequence[str], options: UniformOptions, *, seed: int, total_steps: int) -> None:  # noqa: ARG002
        super().__init__(columns, seed=seed, total_steps=total_steps)
        if len(columns) > MOST_COLUMNS:
            raise InputError(
                f"The modality dropout `uniform` is for at most {MOST_COLUMNS} columns, not {len(columns)}",
                where="modality_dropout",
                fix="Use `independent`",
            )

    def forward(self, present: Mapping[str, Tensor], rows: Tensor, step: int) -> dict[str, Tensor]:
        """See `ModalityDropout`."""
        had = stacked(present)
        rank = had.cumsum(dim=1) - 1
        subsets = torch.bitwise_left_shift(torch.ones_like(rank[:, -1]), rank[:, -1] + 1) - 1
        number = integers(self.seed, rows, step, "uniform modality dropout", 1 << _BITS)
        # The binary digits of a number from 1 to 2^K - 1 say which of the K columns are shown.
        digits = 1 + (number * subsets >> _BITS)
        shown = (digits.unsqueeze(1) >> rank.clamp(min=0)) & 1 == 1
        return by_column(had & shown, present)
