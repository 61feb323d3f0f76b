"""Shapes that fit: per-row numbers spread over a batch of arrays."""

from __future__ import annotations

from torch import Tensor


def spread(values: Tensor, like: Tensor) -> Tensor:
    """`values` (B,) or (B, T) with axes of length 1 added at the end until it broadcasts over `like` (B, T, …)."""
    return values.reshape(values.shape + (1,) * (like.dim() - values.dim()))
