"""Which columns each row has, as tensors that fusions compute with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mmdistill.models.masking import where_true


def presence(present: Mapping[str, Tensor], columns: Sequence[str]) -> Tensor:
    """Bool (B, M): whether each row has each of the columns, in their order."""
    return torch.stack([present[column] for column in columns], dim=1)


def kept(embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor], columns: Sequence[str]) -> list[Tensor]:
    """The embeddings (B, dim) of the columns, in their order, zero where a row has none."""
    return [where_true(present[column], embeddings[column]) for column in columns]
