"""FT-Transformer: every number and category of a row is a token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmdistill.models.encoders.catalog import FtTransformerOptions
from mmdistill.models.encoders.encoded import Encoded
from mmdistill.models.encoders.tabular_input import (
    Categories,
    cardinalities,
    numbers_and_indicators,
    numeric_columns,
)
from mmdistill.models.layers.transformer import TransformerLayer, run_layers

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


class FtTransformer(nn.Module):
    """Feature tokens and a class token through pre-norm layers; the embedding is the class token.

    From Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data" (NeurIPS 2021), section 3.3. A number's
    token is its value times a learned vector plus a bias; a missing number is the bias plus a learned vector.

    Args:
        info: a tabular feature.
        options: see `FtTransformerOptions`.
    """

    def __init__(self, info: FeatureInfo, options: FtTransformerOptions) -> None:
        super().__init__()
        self.dim = options.dim
        self.numbers, sizes = numeric_columns(info), cardinalities(info)
        self.categories = Categories(sizes, options.dim) if sizes else None
        columns = self.numbers + len(sizes)
        spread = options.dim**-0.5
        self.slopes = nn.Parameter(torch.randn(self.numbers, options.dim) * spread) if self.numbers else None
        self.missing = nn.Parameter(torch.randn(self.numbers, options.dim) * spread) if self.numbers else None
        self.biases = nn.Parameter(torch.randn(columns, options.dim) * spread)
        self.summary = nn.Parameter(torch.randn(1, 1, options.dim) * spread)
        self.layers = nn.ModuleList(
            TransformerLayer(options.dim, options.heads, options.dropout) for _ in range(options.depth)
        )
        self.norm = nn.LayerNorm(options.dim)

    def forward(self, arrays: Mapping[str, Tensor]) -> Encoded:
        """`numeric` (B, N), `missing` (B, N) and `categorical` (B, K) to embedding (B, dim), tokens (B, N + K, dim)."""
        parts: list[Tensor] = []
        if self.slopes is not None and self.missing is not None:
            numbers, missing = numbers_and_indicators(arrays, self.slopes.dtype)
            parts.append(numbers.unsqueeze(-1) * self.slopes + missing.unsqueeze(-1) * self.missing)
        if self.categories is not None:
            parts.append(self.categories(arrays["categorical"]))
        columns = torch.cat(parts, dim=1) + self.biases
        tokens = torch.cat([self.summary.expand(columns.shape[0], -1, -1), columns], dim=1)
        mask = tokens.new_ones(tokens.shape[:2], dtype=torch.bool)
        layers = run_layers(self.layers, tokens, mask)
        tokens = self.norm(layers[-1])
        return Encoded(tokens[:, 0], tokens[:, 1:], layers=layers)
