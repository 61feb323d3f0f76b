"""Late fusion with a learned weight a column."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.models.fusion.families.decisions import LateWeightedOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.fusion.late import HiddenLayers, side_by_side
from mmdistill.models.fusion.presence import kept, presence
from mmdistill.models.masking import masked_softmax


class LateWeighted(nn.Module):
    """As `Late`, but the columns weigh ``softmax(a)`` over those that a row has, with one learned ``a_c`` a column.

    The weights start equal, where it is `Late`. An absent column has weight zero and the others share what it had; a
    row with nothing gives zeros.

    Args:
        dims: width of each column's embedding.
        options: see `LateWeightedOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: LateWeightedOptions) -> None:
        super().__init__()
        self.columns, self.hidden = tuple(dims), HiddenLayers(dims, options.hidden)
        self.trust = nn.Parameter(torch.zeros(len(dims)))
        self.dim = sum(self.hidden.widths) + len(dims)

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],  # noqa: ARG002 (the signature of every fusion)
        masks: Mapping[str, Tensor],  # noqa: ARG002
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings (B, dim) by column and `present` (B,) by column to (B, dim)."""
        there = presence(present, self.columns)
        vectors = self.hidden(kept(embeddings, present, self.columns))
        shares = masked_softmax(self.trust.expand(there.shape), there, dim=1)
        return Fused(side_by_side(vectors, shares.to(vectors[0].dtype)))
