"""GRU over a sequence of ready-made features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mmdistill.models.encoders.catalog import VectorGruOptions
from mmdistill.models.encoders.encoded import Encoded
from mmdistill.models.encoders.vector_input import VectorInput, require_sequence
from mmdistill.models.layers.recurrent import Recurrent
from mmdistill.models.masking import masked_mean

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


class VectorGru(nn.Module):
    """GRU layers, by default in both directions, and the mean of their outputs.

    Args:
        info: a vector feature that is a sequence.
        options: see `VectorGruOptions`.

    Raises:
        InputError: when the feature is one vector a row.
    """

    def __init__(self, info: FeatureInfo, options: VectorGruOptions) -> None:
        super().__init__()
        require_sequence(info, "gru")
        self.input = VectorInput(info)
        self.dropout = nn.Dropout(options.dropout)
        self.recurrent = Recurrent(
            "gru", self.input.size, options.hidden, options.layers, options.bidirectional, options.dropout
        )
        self.dim = self.recurrent.dim

    def forward(self, arrays: Mapping[str, Tensor]) -> Encoded:
        """`values` (B, L, D) and `mask` to an embedding (B, dim) and tokens (B, L, dim)."""
        values, mask = self.input(arrays)
        states = self.recurrent(self.dropout(values), mask)
        return Encoded(masked_mean(states, mask), states, mask)
