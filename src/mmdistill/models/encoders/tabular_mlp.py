"""Fully connected encoder of tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmdistill.models.encoders.catalog import TabularMlpOptions
from mmdistill.models.encoders.encoded import Encoded
from mmdistill.models.encoders.tabular_input import (
    Categories,
    cardinalities,
    numbers_and_indicators,
    numeric_columns,
)
from mmdistill.models.layers.mlp import mlp

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


class TabularMlp(nn.Module):
    """Numbers, missing indicators and category embeddings, concatenated, through Linear and ReLU layers.

    Args:
        info: a tabular feature.
        options: see `TabularMlpOptions`.
    """

    def __init__(self, info: FeatureInfo, options: TabularMlpOptions) -> None:
        super().__init__()
        self.dim = options.hidden[-1]
        self.numbers, sizes = numeric_columns(info), cardinalities(info)
        # Half the number of categories (at least two) is plenty for the column that has most of them.
        width = min(options.embedding, max(2, (max(sizes, default=0) + 1) // 2))
        self.categories = Categories(sizes, width) if sizes else None
        self.layers = mlp(2 * self.numbers + width * len(sizes), options.hidden, options.dropout)

    def forward(self, arrays: Mapping[str, Tensor]) -> Encoded:
        """`numeric` (B, N), `missing` (B, N) and `categorical` (B, K) to an embedding (B, dim)."""
        parts: list[Tensor] = []
        if self.numbers:
            parts += numbers_and_indicators(arrays, next(self.layers.parameters()).dtype)
        if self.categories is not None:
            parts.append(self.categories(arrays["categorical"]).flatten(1))
        return Encoded(self.layers(torch.cat(parts, dim=1)))
