"""Standardisation by the training rows' statistics, on the device, as part of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Standardise(nn.Module):
    """``(x - mean) / std`` in one multiply-add; any integer or float input comes out in the model's own dtype.

    The statistics belong to the feature, which is stored beside the weights, so they are buffers that are not saved
    again. A spread of zero (a constant input) counts as one.

    Args:
        mean: a number, or one for each channel.
        std: the same shape as `mean`.
        trailing: how many dimensions follow the channel's: 0 for (…, D), 2 for (B, C, H, W).
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self, mean: Tensor | Sequence[float] | float, std: Tensor | Sequence[float] | float, trailing: int = 0
    ) -> None:
        super().__init__()
        centre = torch.as_tensor(mean, dtype=torch.float64)
        spread = torch.as_tensor(std, dtype=torch.float64)
        spread = torch.where(spread > 0, spread, torch.ones_like(spread))
        centre, spread = torch.broadcast_tensors(centre, spread)
        shape = centre.shape + (1,) * trailing
        dtype = torch.get_default_dtype()
        self.register_buffer("scale", spread.reciprocal().reshape(shape).to(dtype), persistent=False)
        self.register_buffer("shift", (-centre / spread).reshape(shape).to(dtype), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """Standardised values in the dtype of the buffers; the shape is kept."""
        return torch.addcmul(self.shift, values.to(self.scale.dtype), self.scale)


def statistics(state: dict[str, Any], mean: float = 0.0, std: float = 1.0) -> tuple[Any, Any]:
    """``(mean, std)`` of a feature's state, or the given ones when it holds none."""
    return state.get("mean", mean), state.get("std", std)
