"""The element-wise product of the columns."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.models.fusion.families.products import ProductOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.fusion.presence import presence
from mmdistill.models.fusion.present_product import present_product
from mmdistill.models.fusion.projections import Projections
from mmdistill.models.masking import where_true


class Product(nn.Module):
    """``h = Π_c p_c + Σ_c p_c`` with ``p_c = W_c x_c + b_c``, over the columns that a row has.

    The product lets every feature of one column switch those of the others; the sum (`residual`) keeps what each says
    alone and carries the gradient where a factor is near zero. It is bilinear pooling by a Hadamard product (Kim et
    al., 2017, equation 4 with the shortcut of equation 10) without the layers around it, for any number of columns.

    An absent column counts as 1 in the product and is left out of the sum, so the rest remain; a row with nothing
    gives ones.

    Args:
        dims: width of each column's embedding.
        options: see `ProductOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: ProductOptions) -> None:
        super().__init__()
        self.columns, self.dim, self.residual = tuple(dims), options.dim, options.residual
        self.project = Projections(dims, options.dim, gain=1)

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],  # noqa: ARG002 (the signature of every fusion)
        masks: Mapping[str, Tensor],  # noqa: ARG002
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings (B, dim) by column and `present` (B,) by column to (B, dim)."""
        vectors = self.project(embeddings, present)
        product = present_product(vectors, present, self.columns)
        if not self.residual:
            return Fused(product)
        there = presence(present, self.columns)
        return Fused(product + where_true(there, torch.stack(vectors, dim=1)).sum(1))
