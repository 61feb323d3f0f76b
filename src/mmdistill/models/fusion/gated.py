"""Gated multimodal unit."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.models.column_modules import ColumnModules
from mmdistill.models.fusion.families.pooled import GatedOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.fusion.presence import kept, presence
from mmdistill.models.masking import masked_softmax, where_true


class Gated(nn.Module):
    """``h = Σ z_c · tanh(W_c x_c)`` with gates ``z`` computed from all columns, features one by one.

    From Arevalo et al., "Gated Multimodal Units for Information Fusion" (2017), section 3.1. An absent column is
    zero in what the gates see and has a gate of zero.

    Args:
        dims: width of each column's embedding.
        options: see `GatedOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: GatedOptions) -> None:
        super().__init__()
        self.columns, self.dim, self.shared = tuple(dims), options.dim, options.gates == "softmax"
        self.project = ColumnModules({column: nn.Linear(width, options.dim) for column, width in dims.items()})
        self.gates = nn.Linear(sum(dims.values()), len(dims) * options.dim)

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],  # noqa: ARG002 (the signature of every fusion)
        masks: Mapping[str, Tensor],  # noqa: ARG002
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings (B, dim) by column and `present` (B,) by column to (B, dim)."""
        there = presence(present, self.columns)
        vectors = kept(embeddings, present, self.columns)
        scores = self.gates(torch.cat(vectors, dim=1)).unflatten(1, (len(self.columns), self.dim))
        if self.shared:
            gates = masked_softmax(scores, there.unsqueeze(-1), dim=1)
        else:
            gates = where_true(there, scores.sigmoid())
        values = torch.stack(
            [self.project[column](vector) for column, vector in zip(self.columns, vectors, strict=True)], dim=1
        )
        return Fused((gates * values.tanh()).sum(1))
