"""Masks over rows and positions: true where something stands, and defined results where nothing does.

What stands under a false mask may be anything, NaN and infinity included. It is replaced, never multiplied by zero,
because NaN times zero is NaN both in the value and in the gradient.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def where_true(mask: Tensor, values: Tensor) -> Tensor:
    """`values` where the mask is true and zero elsewhere.

    Args:
        mask: bool (B,) or (B, L).
        values: (B, …) or (B, L, …), any dtype.
    """
    shaped = mask.reshape(mask.shape + (1,) * (values.ndim - mask.ndim))
    return values.masked_fill(~shaped, 0)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the positions whose mask is true; zero for a row that has none.

    Args:
        values: (B, L, D).
        mask: bool (B, L).

    Returns:
        (B, D).
    """
    count = mask.sum(1, keepdim=True).clamp(min=1).to(values.dtype)
    return where_true(mask, values).sum(1) / count


def masked_max(values: Tensor, mask: Tensor) -> Tensor:
    """Largest value over the positions whose mask is true; zero for a row that has none. Shapes as `masked_mean`."""
    largest = values.masked_fill(~mask.unsqueeze(-1), torch.finfo(values.dtype).min).amax(1)
    return where_true(mask.any(1), largest)


def masked_softmax(scores: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Softmax over the true entries of `dim`; all zeros, with zero gradient, where none is true.

    Args:
        scores: finite scores of any shape.
        mask: bool, broadcastable to the shape of `scores`.
    """
    lowest = torch.finfo(scores.dtype).min
    weights = scores.masked_fill(~mask, lowest).softmax(dim)
    return weights.masked_fill(~mask, 0)


def sequence_mask(arrays: Mapping[str, Tensor]) -> Tensor:
    """The bool mask (B, L) of a sequence feature; all true when the arrays hold none (one unpadded batch)."""
    if "mask" in arrays.keys():  # noqa: SIM118 (a TensorDict refuses `in` on itself)
        return arrays["mask"]
    values = arrays["values"]
    return values.new_ones(values.shape[:2], dtype=torch.bool)
