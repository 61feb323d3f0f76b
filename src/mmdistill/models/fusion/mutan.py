"""Multimodal Tucker fusion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from mmdistill.models.column_modules import ColumnModules
from mmdistill.models.fusion.families.products import MutanOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.fusion.present_product import present_product
from mmdistill.models.fusion.projections import Projections


class Mutan(nn.Module):
    """``h = Σ_r Π_c M_c^r tanh(W_c x_c + b_c)``: a Tucker decomposition whose core is a sum of R products.

    From Ben-younes et al., "MUTAN: Multimodal Tucker Fusion for Visual Question Answering" (ICCV 2017), section 3.2:
    each slice of the core tensor has rank R. The paper has two columns; here each of the R products runs over any
    number. Its last factor matrix W_o, from h to the answers, is the model's head.

    An absent column counts as 1 in each product, so the rest remain; a row with nothing gives R everywhere.

    Args:
        dims: width of each column's embedding.
        options: see `MutanOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: MutanOptions) -> None:
        super().__init__()
        self.columns, self.dim, self.rank = tuple(dims), options.dim, options.rank
        self.project = Projections(dims, options.width, gain=nn.init.calculate_gain("tanh"))
        self.factors = ColumnModules(
            {column: nn.Linear(options.width, options.rank * options.dim, bias=False) for column in dims}
        )
        # Factors as large as what they read: with smaller ones a product of several columns would begin near zero.
        for column in dims:
            nn.init.normal_(cast(nn.Linear, self.factors[column]).weight, std=options.width**-0.5)

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],  # noqa: ARG002 (the signature of every fusion)
        masks: Mapping[str, Tensor],  # noqa: ARG002
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings (B, dim) by column and `present` (B,) by column to (B, dim)."""
        vectors = self.project(embeddings, present)
        factors = [self.factors[column](vector.tanh()) for column, vector in zip(self.columns, vectors, strict=True)]
        product = present_product(factors, present, self.columns)
        return Fused(product.unflatten(1, (self.rank, self.dim)).sum(1))
