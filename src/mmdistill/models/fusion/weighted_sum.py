"""A sum of the columns with learned weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.models.fusion.families.pooled import WeightedSumOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.fusion.presence import presence
from mmdistill.models.fusion.projections import Projections
from mmdistill.models.masking import masked_softmax


class WeightedSum(nn.Module):
    """``h = Σ_c s_c (W_c x_c + b_c)`` with ``s = softmax(w)`` over the columns that a row has, one number w a column.

    The weights are learned but the same for every row that has the same columns: which of them to trust row by row is
    what the fusion `gated` learns. An absent column has a share of zero and the others share it out; a row with
    nothing gives zeros. All shares are equal at first.

    Args:
        dims: width of each column's embedding.
        options: see `WeightedSumOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: WeightedSumOptions) -> None:
        super().__init__()
        self.columns, self.dim = tuple(dims), options.dim
        self.project = Projections(dims, options.dim)
        self.weights = nn.Parameter(torch.zeros(len(dims)))

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],  # noqa: ARG002 (the signature of every fusion)
        masks: Mapping[str, Tensor],  # noqa: ARG002
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings (B, dim) by column and `present` (B,) by column to (B, dim)."""
        there = presence(present, self.columns)
        vectors = torch.stack(self.project(embeddings, present), dim=1)
        shares = masked_softmax(self.weights.expand(there.shape), there, dim=1)
        return Fused((shares.unsqueeze(-1) * vectors).sum(1))
