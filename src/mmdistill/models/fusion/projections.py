"""A Linear layer for each column, all to the same width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from mmdistill.models.column_modules import ColumnModules
from mmdistill.models.fusion.presence import kept


class Projections(nn.Module):
    """Brings the columns' embeddings to a common width.

    Args:
        dims: width of each column's embedding.
        width: the common width.
        gain: size of the results at first, as a share of that of the embeddings; None: PyTorch's own start, about 0.6.
            Where results are multiplied, small ones would keep a product, and so every gradient, near zero for long.
    """

    def __init__(self, dims: Mapping[str, int], width: int, gain: float | None = None) -> None:
        super().__init__()
        self.columns = tuple(dims)
        self.layers = ColumnModules({column: nn.Linear(dim, width) for column, dim in dims.items()})
        if gain is not None:
            for column, dim in dims.items():
                nn.init.normal_(cast(nn.Linear, self.layers[column]).weight, std=gain * dim**-0.5)

    def forward(self, embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> list[Tensor]:
        """Embeddings by column to (B, width) each, in the columns' order. An absent one gives the layer's bias."""
        vectors = kept(embeddings, present, self.columns)
        return [self.layers[column](vector) for column, vector in zip(self.columns, vectors, strict=True)]
