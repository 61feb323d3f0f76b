"""Late fusion: a head for each column, averaged over the columns that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mmdistill.models.column_modules import ColumnModules
from mmdistill.models.fusion.families.decisions import LateOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.fusion.presence import kept, presence


class HiddenLayers(nn.Module):
    """A Linear and ReLU layer a column, or none.

    Args:
        dims: width of each column's embedding.
        hidden: width of the layers; None leaves the embeddings as they are.

    Attributes:
        widths: width of each column's result.
    """

    def __init__(self, dims: Mapping[str, int], hidden: int | None) -> None:
        super().__init__()
        self.columns = tuple(dims)
        self.widths = tuple(hidden or width for width in dims.values())
        self.layers = (
            ColumnModules({column: nn.Linear(width, hidden) for column, width in dims.items()}) if hidden else None
        )

    def forward(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """(B, dim) of each column, in their order, to the same of the layers' width."""
        if self.layers is None:
            return list(vectors)
        return [self.layers[column](vector).relu() for column, vector in zip(self.columns, vectors, strict=True)]


def side_by_side(vectors: Sequence[Tensor], shares: Tensor) -> Tensor:
    """``[a_1 x_1, a_1, …, a_M x_M, a_M]``: a linear head on it is a head a column, weighted with the shares.

    Args:
        vectors: (B, dim) of each column.
        shares: (B, M) the weight ``a`` of each column in each row.

    Returns:
        (B, Σ dim + M).
    """
    parts: list[Tensor] = []
    for vector, share in zip(vectors, shares.split(1, dim=1), strict=True):
        parts += [vector * share, share]
    return torch.cat(parts, dim=1)


class Late(nn.Module):
    """``fused = [x_1, 1, …, x_M, 1] / n``, with zeros in place of ``[x_c, 1]`` where column c is absent; n are present.

    A linear head on this *is* late fusion: its weights on the part of column c are that column's own head
    ``(W_c, b_c)``, and its output is the mean of ``W_c x_c + b_c`` over the columns that the row has (plus the head's
    common bias). So late fusion needs neither parameters nor heads of its own, works for every task with a linear
    head, and `fused` is a tap like any other.

    Args:
        dims: width of each column's embedding.
        options: see `LateOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: LateOptions) -> None:
        super().__init__()
        self.columns, self.hidden = tuple(dims), HiddenLayers(dims, options.hidden)
        self.dim = sum(self.hidden.widths) + len(dims)

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],  # noqa: ARG002 (the signature of every fusion)
        masks: Mapping[str, Tensor],  # noqa: ARG002
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings (B, dim) by column and `present` (B,) by column to (B, dim)."""
        vectors = self.hidden(kept(embeddings, present, self.columns))
        there = presence(present, self.columns).to(vectors[0].dtype)
        return Fused(side_by_side(vectors, there / there.sum(1, keepdim=True).clamp(min=1)))
