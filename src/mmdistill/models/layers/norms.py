"""Normalisation that looks at one row only.

Batch normalisation would mix rows: absent rows, padding, the size of the last batch, gradient accumulation and the
number of processes would all change what is learned. Group normalisation depends on a row, or on one frame of it,
alone, so that none of these matters. On small networks it was found to cost neither time nor accuracy; for sound it has
to stay within a frame, since statistics over all frames would mix in the padding.
"""

from __future__ import annotations

import math

from torch import Tensor, nn


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with eight groups, or as many as divide the channels (Wu & He, "Group Normalization", ECCV 2018)."""
    return nn.GroupNorm(math.gcd(8, channels), channels)


class FrameNorm(nn.GroupNorm):
    """GroupNorm over channels and frequency within each frame, four groups or as many as divide the channels.

    A frame's result depends on that frame alone, so padding needs no statistics of its own.

    Args:
        channels: of the maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(math.gcd(4, channels), channels)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, T, F) to the same shape. In channels_last memory every step but the norm itself is a view."""
        rows, _, frames, _ = maps.shape
        each = maps.transpose(1, 2).flatten(0, 1).unsqueeze(2)
        return super().forward(each).squeeze(2).unflatten(0, (rows, frames)).transpose(1, 2)
