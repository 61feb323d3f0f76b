"""Maps of different sizes brought to one: the larger is pooled, nothing is made up by interpolation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from torch import Tensor
from torch.nn import functional as F

Pooling: TypeAlias = Literal["average", "max"]

_POOLS: dict[Pooling, tuple[Callable[..., Tensor], ...]] = {
    "average": (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d),
    "max": (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d),
}


def pool_to(maps: Tensor, size: Sequence[int], pooling: Pooling = "average") -> Tensor:
    """Maps (B, C, *positions) pooled to `size`, one number an axis; as they are when they have it."""
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return _POOLS[pooling][maps.dim() - 3](maps, tuple(size))


def pool_to_smaller(first: Tensor, second: Tensor, pooling: Pooling = "average") -> tuple[Tensor, Tensor]:
    """Both maps at the smaller of their two sizes, axis by axis."""
    size = [min(sizes) for sizes in zip(first.shape[2:], second.shape[2:], strict=True)]
    return pool_to(first, size, pooling), pool_to(second, size, pooling)
