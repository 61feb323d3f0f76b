"""Concatenation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.models.fusion.families.pooled import ConcatOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.fusion.presence import kept, presence
from mmdistill.models.layers.mlp import mlp


class Concat(nn.Module):
    """Embeddings side by side, a stand-in for each absent one, then Linear and ReLU layers.

    Args:
        dims: width of each column's embedding.
        options: see `ConcatOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: ConcatOptions) -> None:
        super().__init__()
        self.columns, self.widths = tuple(dims), tuple(dims.values())
        learned = options.absent == "learned"
        width = sum(self.widths) + (0 if learned else len(self.columns))
        # Zero at first: a column that is never absent in training is then the same as with `absent: zero`.
        self.absent = nn.Parameter(torch.zeros(sum(self.widths))) if learned else None
        self.layers = mlp(width, options.hidden, options.dropout)
        self.dim = options.hidden[-1] if options.hidden else width

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],  # noqa: ARG002 (the signature of every fusion)
        masks: Mapping[str, Tensor],  # noqa: ARG002
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings (B, dim) by column and `present` (B,) by column to (B, dim)."""
        if self.absent is None:
            bits = presence(present, self.columns)
            vectors = kept(embeddings, present, self.columns)
            return Fused(self.layers(torch.cat([*vectors, bits.to(vectors[0].dtype)], dim=1)))
        stand_ins = self.absent.split(self.widths)
        vectors = [
            torch.where(present[column].unsqueeze(1), embeddings[column], stand_in)
            for column, stand_in in zip(self.columns, stand_ins, strict=True)
        ]
        return Fused(self.layers(torch.cat(vectors, dim=1)))
