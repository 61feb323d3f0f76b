"""Modality dropout over combinations of columns that a recipe lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mmdistill.data.modality_dropouts.catalog import ListedOptions
from mmdistill.data.modality_dropouts.dropout import ModalityDropout
from mmdistill.data.modality_dropouts.stacking import by_column, stacked
from mmdistill.data.modality_dropouts.weighted_choice import weighted_choice
from mmdistill.data.subset_names import named_subsets
from mmdistill.data.views import uniform


class Listed(ModalityDropout):
    """Each row is shown one of the listed combinations, by their chances.

    A row that lacks a column of a combination is shown the rest of it. Combinations of which it has nothing are not
    drawn for it, and one that has nothing of any is shown all it has.

    Args:
        columns: see `ModalityDropout`.
        options: see `ListedOptions`.
        seed: see `ModalityDropout`.
        total_steps: see `ModalityDropout`.

    Raises:
        InputError: when a combination names a column that the model does not read, or is listed twice.
    """

    table: Tensor
    chances: Tensor

    def __init__(self, columns: Sequence[str], options: ListedOptions, *, seed: int, total_steps: int) -> None:
        super().__init__(columns, seed=seed, total_steps=total_steps)
        listed = named_subsets(options.combinations, columns, where="modality_dropout.combinations")
        flags = [[column in subset for column in sorted(columns)] for subset in listed]
        # Both follow from the recipe, and are no part of a checkpoint.
        self.register_buffer("table", torch.tensor(flags), persistent=False)
        self.register_buffer("chances", torch.tensor(list(listed.values()), dtype=torch.float32), persistent=False)

    def forward(self, present: Mapping[str, Tensor], rows: Tensor, step: int) -> dict[str, Tensor]:
        """See `ModalityDropout`."""
        had = stacked(present)
        common = had.unsqueeze(1) & self.table
        some = common.any(dim=2)
        draws = uniform(self.seed, rows, step, "listed modality dropout")
        chosen = weighted_choice(torch.where(some, self.chances, 0.0), draws)
        shown = common.gather(1, chosen.view(-1, 1, 1).expand(-1, 1, had.shape[1])).squeeze(1)
        return by_column(torch.where(some.any(dim=1, keepdim=True), shown, had), present)
