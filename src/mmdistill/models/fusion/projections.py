"""A Linear layer for each column, all to the same width."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mmdistill.models.column_modules import ColumnModules
from mmdistill.models.fusion.presence import kept


class Projections(nn.Module):
    """Brings the columns' embeddings to a common width.

    Args:
        dims: width of each column's embedding.
        width: the common width.
    """

    def __init__(self, dims: Mapping[str, int], width: int) -> None:
        super().__init__()
        self.columns = tuple(dims)
        self.layers = ColumnModules({column: nn.Linear(dim, width) for column, dim in dims.items()})

    def forward(self, embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> list[Tensor]:
        """Embeddings by column to (B, width) each, in the columns' order. An absent one gives the layer's bias."""
        vectors = kept(embeddings, present, self.columns)
        return [self.layers[column](vector) for column, vector in zip(self.columns, vectors, strict=True)]
