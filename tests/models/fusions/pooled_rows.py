"""Rows of pooled embeddings for tests of one fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmdistill.models.fusion.build import build_fusion
from mmdistill.recipe.schema import Component

DIMS = {"image": 6, "sound": 8, "type": 4}


def built(name: str, dims: Mapping[str, int] = DIMS, **options: Any) -> nn.Module:
    """A fusion in float64, its parameters drawn from a fixed seed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_fusion(Component(name=name, **options), dims).double()


def vectors(dims: Mapping[str, int] = DIMS, rows: int = 5) -> dict[str, Tensor]:
    """Random embeddings by column."""
    generator = torch.Generator().manual_seed(1)
    return {column: torch.randn(rows, dim, generator=generator, dtype=torch.float64) for column, dim in dims.items()}


def fused(fusion: nn.Module, embeddings: Mapping[str, Tensor], there: Sequence[str] | None = None) -> Tensor:
    """What the fusion makes of rows that all have the columns `there`; None: every one."""
    rows = next(iter(embeddings.values())).shape[0]
    present = {column: torch.full((rows,), there is None or column in there) for column in embeddings}
    result: Tensor = fusion(embeddings, {}, {}, present).embedding
    return result
