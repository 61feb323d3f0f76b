"""Puts vectors in the place of what rows lack."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mmdistill.models.fusion.fused import NOTHING
from mmdistill.models.missing.completed import Completed


def stand_in(
    embeddings: Mapping[str, Tensor],
    tokens: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    vectors: Mapping[str, Tensor],
    *,
    fillable: Tensor | None = None,
    auxiliary: Mapping[str, Tensor] = NOTHING,
) -> Completed:
    """A vector for each column that a row lacks, which then counts as there; what a row has is not touched.

    Where a column has tokens, the vector is also the first token of a sequence whose other tokens are masked.

    Args:
        embeddings: column → (B, dim), anything in rows that lack it.
        tokens: column → (B, L, dim) with L of at least 1.
        masks: column → bool (B, L); all of a present row's tokens where left out.
        present: column → bool (B,), what is taken as it is.
        vectors: column → (dim,) or (B, dim).
        fillable: bool (B,), the rows in which something stands in; the others go on lacking what they lack. All when
            None.
        auxiliary: handed on.
    """
    filled = {
        column: torch.where(rows.unsqueeze(1), embeddings[column], vectors[column].to(embeddings[column].dtype))
        for column, rows in present.items()
    }
    sequences, visible = {}, {}
    for column, values in tokens.items():
        rows = present[column].unsqueeze(1)
        first = torch.arange(values.shape[1], device=values.device) == 0
        vector = vectors[column].to(values.dtype)
        vector = vector.unsqueeze(1) if vector.ndim == 2 else vector
        sequences[column] = torch.where((first & ~rows).unsqueeze(2), vector, values)
        own = masks.get(column)
        stands = first if fillable is None else first & fillable.unsqueeze(1)
        visible[column] = torch.where(rows, rows.expand(values.shape[:2]) if own is None else own, stands)
    there = {column: torch.ones_like(rows) if fillable is None else rows | fillable for column, rows in present.items()}
    return Completed(filled, sequences, visible, there, auxiliary=auxiliary)
