"""Small transformer over a sequence of ready-made features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mmdistill.models.encoders.catalog import VectorTransformerOptions
from mmdistill.models.encoders.encoded import Encoded
from mmdistill.models.encoders.vector_input import VectorInput, require_sequence
from mmdistill.models.layers.transformer import TransformerLayer, run_layers, sinusoidal_positions
from mmdistill.models.masking import masked_mean

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


class VectorTransformer(nn.Module):
    """A projection, sinusoidal positions and pre-norm transformer layers; the embedding is the mean of the tokens.

    Args:
        info: a vector feature that is a sequence.
        options: see `VectorTransformerOptions`.

    Raises:
        InputError: when the feature is one vector a row.
    """

    def __init__(self, info: FeatureInfo, options: VectorTransformerOptions) -> None:
        super().__init__()
        require_sequence(info, "transformer")
        self.dim = options.dim
        self.input = VectorInput(info)
        self.project = nn.Linear(self.input.size, options.dim)
        self.dropout = nn.Dropout(options.dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(options.dim, options.heads, options.dropout) for _ in range(options.depth)
        )
        self.norm = nn.LayerNorm(options.dim)

    def forward(self, arrays: Mapping[str, Tensor]) -> Encoded:
        """`values` (B, L, D) and `mask` to an embedding (B, dim), tokens (B, L, dim) and those of each layer."""
        values, mask = self.input(arrays)
        tokens = self.project(values)
        tokens = self.dropout(tokens + sinusoidal_positions(tokens.shape[1], self.dim, tokens))
        layers = run_layers(self.layers, tokens, mask)
        tokens = self.norm(layers[-1])
        return Encoded(masked_mean(tokens, mask), tokens, mask, layers=layers)
