"""Pooling that keeps roughly where things are."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F


class GridPool(nn.Module):
    """The mean or maximum of each cell of a grid over the maps, projected to one vector; a grid of 1 is the plain one.

    The plain mean cannot tell a stroke above from one below, which small networks trained on few rows miss most. The
    mean of a large cell hardly changes with a small thing in it; the maximum does, wherever in the cell it is.

    Args:
        channels: of the maps.
        size: height and width of the maps.
        cells: along each side; no more than the maps have positions.
        dropout: chance of zeroing a pooled value while training.
        pool: what is kept of a cell.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        cells: int,
        dropout: float,
        pool: Literal["mean", "max"] = "mean",
    ) -> None:
        super().__init__()
        cells = min(cells, *size)
        # Cells of one size that overlap where they must: unlike adaptive pooling, this exports everywhere.
        self.stride = (size[0] // cells, size[1] // cells)
        self.cell = (size[0] - (cells - 1) * self.stride[0], size[1] - (cells - 1) * self.stride[1])
        self.reduce = F.avg_pool2d if pool == "mean" else F.max_pool2d
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(channels * cells * cells, channels) if cells > 1 else None

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, C)."""
        pooled = self.dropout(self.reduce(maps, self.cell, self.stride).flatten(1))
        return pooled if self.project is None else F.relu(self.project(pooled))
