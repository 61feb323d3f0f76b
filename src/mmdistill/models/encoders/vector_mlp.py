"""Fully connected encoder of ready-made features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mmdistill.models.encoders.catalog import VectorMlpOptions
from mmdistill.models.encoders.encoded import Encoded
from mmdistill.models.encoders.vector_input import VectorInput
from mmdistill.models.layers.mlp import mlp
from mmdistill.models.masking import masked_mean

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


class VectorMlp(nn.Module):
    """Linear and ReLU layers; a sequence is encoded vector by vector and averaged (Zaheer et al., "Deep Sets", 2017).

    Args:
        info: a vector feature, fixed or a sequence.
        options: see `VectorMlpOptions`.
    """

    def __init__(self, info: FeatureInfo, options: VectorMlpOptions) -> None:
        super().__init__()
        self.dim = options.hidden[-1]
        self.input = VectorInput(info)
        self.layers = mlp(self.input.size, options.hidden, options.dropout)

    def forward(self, arrays: Mapping[str, Tensor]) -> Encoded:
        """`values` (B, D) to an embedding (B, dim); (B, L, D) with `mask` to tokens (B, L, dim) as well."""
        values, mask = self.input(arrays)
        encoded = self.layers(values)
        return Encoded(encoded) if mask is None else Encoded(masked_mean(encoded, mask), encoded, mask)
