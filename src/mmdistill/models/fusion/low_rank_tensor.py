"""Low-rank tensor fusion."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import cast

import torch
from torch import Tensor, nn

from mmdistill.models.fusion.families.products import LowRankTensorOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.fusion.projections import Projections


class LowRankTensor(nn.Module):
    """``h = Σ_r w_r Π_c F_c^r [1; x_c] + b``: tensor fusion whose weight tensor is a sum of R products.

    From Liu et al., "Efficient Low-rank Multimodal Fusion With Modality-Specific Factors" (ACL 2018), equation 7; the
    weights w of the R products and the bias b are those of the authors' code. A factor ``F [1; x]`` is a Linear layer:
    its bias is the row of F that belongs to the 1.

    An absent column is [1; 0], as in the tensor that is never made: its factors are their biases and the rest remain.
    The biases begin at 1, so that an absent column is neutral at first and the product of many columns neither
    vanishes nor grows; the authors begin with small random numbers there.

    Args:
        dims: width of each column's embedding.
        options: see `LowRankTensorOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: LowRankTensorOptions) -> None:
        super().__init__()
        self.rank, self.dim = options.rank, options.dim
        self.factors = Projections(dims, options.rank * options.dim)
        for column in dims:
            nn.init.ones_(cast(nn.Linear, self.factors.layers[column]).bias)
        self.weights = nn.Parameter(torch.full((options.rank,), options.rank**-0.5))
        # Takes away the products of ones, so that a row with nothing gives zero at first.
        self.bias = nn.Parameter(torch.full((options.dim,), -(options.rank**0.5)))

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],  # noqa: ARG002 (the signature of every fusion)
        masks: Mapping[str, Tensor],  # noqa: ARG002
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings (B, dim) by column and `present` (B,) by column to (B, dim)."""
        # What is absent is zero here, and the bias of its layer is its factor.
        product = reduce(torch.mul, self.factors(embeddings, present)).unflatten(1, (self.rank, self.dim))
        return Fused((self.weights.unsqueeze(1) * product).sum(1) + self.bias)
