"""Late fusion: a head for each column, averaged over the columns that are there."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.models.column_modules import ColumnModules
from mmdistill.models.fusion.families.decisions import LateOptions
from mmdistill.models.fusion.fused import Fused
from mmdistill.models.fusion.presence import kept, presence


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
        self.columns = tuple(dims)
        widths = [options.hidden or width for width in dims.values()]
        self.hidden = (
            ColumnModules({column: nn.Linear(width, options.hidden) for column, width in dims.items()})
            if options.hidden
            else None
        )
        self.dim = sum(widths) + len(widths)

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],  # noqa: ARG002 (the signature of every fusion)
        masks: Mapping[str, Tensor],  # noqa: ARG002
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings (B, dim) by column and `present` (B,) by column to (B, dim)."""
        vectors = kept(embeddings, present, self.columns)
        there = presence(present, self.columns).to(vectors[0].dtype)
        share = there / there.sum(1, keepdim=True).clamp(min=1)
        parts: list[Tensor] = []
        for index, (column, vector) in enumerate(zip(self.columns, vectors, strict=True)):
            part = vector if self.hidden is None else self.hidden[column](vector).relu()
            parts += [part * share[:, index : index + 1], share[:, index : index + 1]]
        return Fused(torch.cat(parts, dim=1))
