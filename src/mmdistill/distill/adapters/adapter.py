"""An adapter: a map over the channels of a student's tap, then over its positions or sizes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Adapter(nn.Module):
    """Brings a student's tap to the shape of a teacher's.

    Args:
        project: applied to (B, inputs) or (B, L, inputs), or to maps (B, inputs, …) when it is `channels_first`.
        channels_first: whether the tap is maps.
        size: height and width that maps are resized to; they stay as they are when left out.
        on_maps: whether `project` takes maps itself. Else it takes channels last, and maps are brought into that form.
    """

    def __init__(
        self,
        project: nn.Module | None,
        *,
        channels_first: bool = False,
        size: tuple[int, ...] | None = None,
        on_maps: bool = False,
    ) -> None:
        super().__init__()
        self.project, self.channels_first, self.size, self.on_maps = project, channels_first, size, on_maps

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:  # noqa: ARG002  as every adapter
        """(B, …) of the student's shape to (B, …) of the teacher's. A mask (B, L) changes nothing here."""
        if self.size is not None and values[0, 0].numel() >= _count(self.size):
            # Shrinking first is the same for a linear map and costs less.
            return self._projected(resize(values, self.size))
        projected = self._projected(values)
        return projected if self.size is None else resize(projected, self.size)

    def _projected(self, values: Tensor) -> Tensor:
        if self.project is None:
            return values
        if not self.channels_first or self.on_maps:
            result: Tensor = self.project(values)
            return result
        result = self.project(values.movedim(1, -1))
        return result.movedim(-1, 1)


def resize(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Maps (B, C, …) of another size: means over regions where they shrink, linear interpolation where they grow.

    Either way an axis at a time decides, so that a map may grow in one and shrink in another.
    """
    if tuple(maps.shape[2:]) == size:
        return maps
    smaller = tuple(min(have, want) for have, want in zip(maps.shape[2:], size, strict=True))
    pool, mode = _METHODS[len(size)]
    if smaller != tuple(maps.shape[2:]):
        maps = pool(maps, smaller)
    if smaller != size:
        maps = F.interpolate(maps, size=size, mode=mode, align_corners=False)
    return maps


_METHODS: dict[int, tuple[Callable[..., Tensor], str]] = {
    1: (F.adaptive_avg_pool1d, "linear"),
    2: (F.adaptive_avg_pool2d, "bilinear"),
    3: (F.adaptive_avg_pool3d, "trilinear"),
}
"""How maps of so many axes are made smaller, and larger."""

MOST_AXES = max(_METHODS)


def _count(size: tuple[int, ...]) -> int:
    return int(torch.Size(size).numel())
