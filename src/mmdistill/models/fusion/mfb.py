"""Multimodal factorized bilinear pooling."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.models.fusion.families.products import MFBOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.fusion.present_product import present_product
from mmdistill.models.fusion.projections import Projections

TINY = 1e-4


class MFB(nn.Module):
    """``z_i = Σ_k Π_c (U_c x_c + b_c)_{ik}``, then signed square roots and a length of one.

    From Yu et al., "Multi-modal Factorized Bilinear Pooling with Co-Attention Learning for Visual Question Answering"
    (ICCV 2017), equation 4 and the normalisations of section 3.1: ``y = sign(z) √|z|``, ``h = y / ‖y‖``. The paper has
    two columns; here the product runs over any number. The biases are those of the authors' code.

    An absent column counts as 1 in the product, so the rest remain; a row with nothing has equal features.

    Args:
        dims: width of each column's embedding.
        options: see `MFBOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: MFBOptions) -> None:
        super().__init__()
        self.columns, self.dim, self.factors = tuple(dims), options.dim, options.factors
        self.normalise = options.normalise
        self.project = Projections(dims, options.dim * options.factors, gain=1)
        self.dropout = nn.Dropout(options.dropout)

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],  # noqa: ARG002 (the signature of every fusion)
        masks: Mapping[str, Tensor],  # noqa: ARG002
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings (B, dim) by column and `present` (B,) by column to (B, dim)."""
        product = self.dropout(present_product(self.project(embeddings, present), present, self.columns))
        pooled = product.unflatten(1, (self.dim, self.factors)).sum(2)
        return Fused(power_and_length(pooled) if self.normalise else pooled)


def power_and_length(values: Tensor, tiny: float = TINY) -> Tensor:
    """Signed square roots ``y = z / (z² + tiny²)^¼``, then ``y / √(‖y‖² + tiny)``.

    The root as written in the paper has an infinite slope at zero, and a length of zero has no direction. With `tiny`
    both are smooth: zero stays zero with slopes of at most ``tiny^-½`` each, and what is far above `tiny` is as in the
    paper.

    Args:
        values: (B, D), any float dtype; computed in at least float32, in which squares neither vanish nor overflow.
        tiny: above zero.

    Returns:
        (B, D) of the dtype of `values`, each row at most of length 1.
    """
    wide = values.to(torch.promote_types(values.dtype, torch.float32))
    roots = wide * (wide.square() + tiny**2).pow(-0.25)
    return (roots * (roots.square().sum(1, keepdim=True) + tiny).rsqrt()).to(values.dtype)
