"""Batch normalisation that rows of weight zero do not enter.

Ioffe, Szegedy, "Batch Normalization", ICML 2015, arXiv:1502.03167. A learned part of a loss normalises over the batch;
a row that does not count for the loss must not change what the others are compared with.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightedBatchNorm(nn.Module):
    """Batch normalisation over rows and positions, whose training statistics leave out rows of weight zero.

    Every other weight counts as one: weights say how much a row matters to the loss, not how often it was seen. Without
    weights it is ``nn.BatchNorm2d``, but for a batch of a single value a channel, which gives the bias rather than an
    error.

    Args:
        channels: number of channels.
        momentum: share of the newest batch in the running statistics.
        epsilon: added to the variance.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.epsilon = momentum, epsilon
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, maps: Tensor, weight: Tensor | None = None) -> Tensor:
        """Normalise (B, C, ...); `weight` (B,) is that of the rows."""
        ordinary = maps.numel() > len(self.bias) and (weight is None or not self.training)
        if ordinary:
            return torch.nn.functional.batch_norm(
                maps,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                self.training,
                self.momentum,
                self.epsilon,
            )
        shape = (1, -1, *[1] * (maps.dim() - 2))
        mean, variance = (
            self._batch_statistics(maps, weight) if self.training else (self.running_mean, self.running_var)
        )
        scale = self.weight * torch.rsqrt(variance + self.epsilon)
        return (maps - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)

    def _batch_statistics(self, maps: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and variance (C,) over the rows that count; the running statistics follow."""
        rows = maps.new_ones(len(maps)) if weight is None else (weight > 0).to(maps.dtype)
        values = maps.flatten(2) if maps.dim() > 2 else maps.unsqueeze(2)
        counted = rows.view(-1, 1, 1)
        count = rows.sum() * values.shape[2]
        divisor = count.clamp(min=1)
        mean = (values * counted).sum(dim=(0, 2)) / divisor
        squares = ((values - mean.view(1, -1, 1)).square() * counted).sum(dim=(0, 2))
        with torch.no_grad():
            share = self.momentum * (count > 0).to(maps.dtype)
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(squares / (count - 1).clamp(min=1), share)
        return mean, squares / divisor
