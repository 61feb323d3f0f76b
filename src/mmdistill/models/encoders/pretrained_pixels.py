"""Pixels for networks that were trained on other pixels: their statistics and their number of channels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def channel_statistics(values: Sequence[float] | float, channels: int) -> list[float]:
    """Statistics for `channels` channels: as they are, their mean for grey, or one number repeated."""
    own = [float(value) for value in ([values] if isinstance(values, float | int) else values)]
    return own if len(own) == channels else [sum(own) / len(own)] * channels


def with_channels(pixels: Tensor, channels: int) -> Tensor:
    """Grey pixels (B, 1, H, W) repeated to the channels that a network reads; others as they are."""
    return pixels.expand(-1, channels, -1, -1) if pixels.shape[1] == 1 and channels > 1 else pixels
