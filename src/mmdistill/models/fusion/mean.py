"""The mean of the columns."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.models.fusion.families.pooled import MeanOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.fusion.presence import presence
from mmdistill.models.fusion.projections import Projections
from mmdistill.models.masking import masked_mean


class Mean(nn.Module):
    """``h = (1 / |P|) Σ_{c ∈ P} (W_c x_c + b_c)`` over the columns P that a row has.

    The mean is over those present, so that its size does not depend on how many there are; a row with nothing gives
    zeros.

    Args:
        dims: width of each column's embedding.
        options: see `MeanOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: MeanOptions) -> None:
        super().__init__()
        self.columns, self.dim = tuple(dims), options.dim
        self.project = Projections(dims, options.dim)

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
        return Fused(masked_mean(vectors, there))
