"""How the values of rows and positions become one number."""

from __future__ import annotations

import torch
from torch import Tensor

from mmdistill.errors import InputError


def weighted_mean(
    values: Tensor, weight: Tensor | None = None, mask: Tensor | None = None, *, scale: float = 1.0
) -> Tensor:
    """The mean of per-row or per-position values over the sum of their weights, times a factor.

    Args:
        values: (B,) one value a row, or (B, L) one value a position.
        weight: (B,) weight of each row, not negative; 1 when left out.
        mask: (B, L), true at positions that count; all when left out.
        scale: what the mean is multiplied with, such as T².

    Returns:
        A scalar; zero when nothing counts, so that a batch without usable rows teaches nothing.

    Raises:
        InputError: when the shapes do not belong together.
    """
    weights = position_weights(values, weight, mask)
    if weights is None:
        return values.sum() * (scale / max(values.numel(), 1))
    total = weights.sum()
    # Shares first: over a tiny total, or times huge weights, values or their gradient would overflow.
    return (values * (weights / torch.where(total > 0, total, 1))).sum() * scale


def mean_of_sums(
    terms: Tensor, weight: Tensor | None = None, mask: Tensor | None = None, *, scale: float = 1.0
) -> Tensor:
    """`weighted_mean` of the sums over the last dimension; in one reduction where all rows count alike.

    Args:
        terms: (B, C) what is summed over the classes of a row, or (B, L, C) of a position.
        weight: as in `weighted_mean`.
        mask: as in `weighted_mean`.
        scale: as in `weighted_mean`.

    Returns:
        A scalar; zero when nothing counts.

    Raises:
        InputError: when the shapes do not belong together.
    """
    if weight is None and mask is None:
        return terms.sum() * (scale / max(terms.shape[:-1].numel(), 1))
    return weighted_mean(terms.sum(dim=-1), weight, mask, scale=scale)


def position_weights(values: Tensor, weight: Tensor | None, mask: Tensor | None) -> Tensor | None:
    """The weight of every value, in the shape and the precision of the values; none when all count alike.

    Args:
        values: (B,) one value a row, or (B, L) one value a position.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.

    Raises:
        InputError: when the shapes do not belong together.
    """
    if weight is None and mask is None:
        return None
    if mask is not None and mask.shape != values.shape:
        raise InputError(f"The mask has shape {tuple(mask.shape)}, the values it selects from {tuple(values.shape)}")
    if weight is not None and weight.shape != values.shape[:1]:
        raise InputError(f"The weight has shape {tuple(weight.shape)}, but there are {values.shape[0]} rows")
    if weight is None:
        assert mask is not None
        return mask.to(values.dtype)
    weights = weight.to(values.dtype)
    if values.dim() == 1:
        return weights
    return weights[:, None].expand_as(values) if mask is None else weights[:, None] * mask
