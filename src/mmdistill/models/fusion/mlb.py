"""Multimodal low-rank bilinear pooling."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mmdistill.models.fusion.families.products import MLBOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.fusion.present_product import present_product
from mmdistill.models.fusion.projections import Projections


class MLB(nn.Module):
    """``h = P (Π_c σ(U_c x_c + b_c)) + b``: projected columns are multiplied element by element and projected again.

    From Kim et al., "Hadamard Product for Low-rank Bilinear Pooling" (ICLR 2017), equations 5 and 8, with σ = tanh.
    The paper has two columns; here the product runs over any number, which is a multilinear map of all of them with
    a tensor of the given rank.

    An absent column counts as 1 in the product, so the rest remain; a row with nothing gives P 1 + b.

    Args:
        dims: width of each column's embedding.
        options: see `MLBOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: MLBOptions) -> None:
        super().__init__()
        self.columns, self.dim, self.squash = tuple(dims), options.dim, options.activation == "tanh"
        gain = nn.init.calculate_gain("tanh" if self.squash else "linear")
        self.project = Projections(dims, options.rank, gain)
        self.out = nn.Linear(options.rank, options.dim)

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],  # noqa: ARG002 (the signature of every fusion)
        masks: Mapping[str, Tensor],  # noqa: ARG002
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings (B, dim) by column and `present` (B,) by column to (B, dim)."""
        factors = self.project(embeddings, present)
        if self.squash:
            factors = [factor.tanh() for factor in factors]
        return Fused(self.out(present_product(factors, present, self.columns)))
