"""The mean of what the present columns share stands in.

Wang, Chen, Ma, Avery, Hull and Carneiro, "Multi-modal Learning with Missing Modality via Shared-Specific Feature
Modelling", CVPR 2023, arXiv:2307.14126: the shared feature of a missing modality is the mean of those of the others.
The paper's shared encoder reads every modality; columns here have encoders and widths of their own, so that a linear
map a column leads into the shared space and another one back, and the mean only stands in where something is missing
(the whole method, with shared and specific features of all columns, is a fusion).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.losses.precision import widen
from mmdistill.models.column_modules import ColumnModules
from mmdistill.models.fusion.presence import kept, presence
from mmdistill.models.masking import masked_mean, where_true
from mmdistill.models.missing.catalog import MeanOfSharedOptions
from mmdistill.models.missing.completed import Completed
from mmdistill.models.missing.stand_ins import stand_in

ALIGNMENT = "missing_alignment"


class MeanOfShared(nn.Module):
    """``x_c = W'_c · mean over present j of (W_j x_j)``, biases left out. A row that has nothing goes on so.

    Args:
        dims: width of each column's embedding and tokens.
        options: see `MeanOfSharedOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: MeanOfSharedOptions) -> None:
        super().__init__()
        self.columns, self.alignment = tuple(dims), options.alignment
        self.shared = ColumnModules({column: nn.Linear(width, options.dim) for column, width in dims.items()})
        self.back = ColumnModules({column: nn.Linear(options.dim, width) for column, width in dims.items()})

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> Completed:
        """See `stand_in`. In training with an auxiliary loss that brings the shared vectors of a row together."""
        there = presence(present, self.columns)
        vectors = kept(embeddings, present, self.columns)
        shared = torch.stack(
            [self.shared[column](vector) for column, vector in zip(self.columns, vectors, strict=True)], dim=1
        )
        mean = masked_mean(shared, there)
        own = {column: self.back[column](mean) for column in self.columns}
        auxiliary = {}
        if self.training and self.alignment > 0:
            auxiliary[ALIGNMENT] = self.alignment * spread(shared, there)
        return stand_in(embeddings, tokens, masks, present, own, fillable=there.any(1), auxiliary=auxiliary)


def spread(shared: Tensor, present: Tensor) -> Tensor:
    """How far the shared vectors of a row are from their mean: the mean absolute difference.

    Args:
        shared: (B, M, D).
        present: bool (B, M), which of them count.

    Returns:
        A scalar: the mean over the features of the present columns of rows that have two or more; zero without any.
    """
    shared = widen(shared)
    counted = present & (present.sum(1, keepdim=True) > 1)
    distances = (shared - masked_mean(shared, present).unsqueeze(1)).abs().mean(2)
    return where_true(counted, distances).sum() / counted.sum().clamp(min=1)
