"""How the values of positions become one number: every position alike, or every row alike."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from mmdistill.losses.reduction import mean_of_sums, weighted_mean

Average: TypeAlias = Literal["positions", "rows"]


def mean_of_positions(
    terms: Tensor, weight: Tensor | None, shares: Tensor | None, average: Average, *, scale: float = 1.0
) -> Tensor:
    """The mean of the sums over the last dimension of (B, C) or (B, L, C) terms, times a factor.

    Args:
        terms: what is summed over the classes of a row, or of a position.
        weight: (B,) weight of each row, not negative.
        shares: (B,) or (B, L): what each row or position counts, true or false, or from 0 to 1; all the same when left
            out.
        average: ``positions`` takes them all together, so that long rows count more; ``rows`` takes the mean of each
            row first, so that rows of any length count the same.
        scale: what the mean is multiplied with, such as T².

    Returns:
        A scalar; zero when nothing counts.

    Raises:
        InputError: when the shapes do not belong together.
    """
    if terms.dim() == 2:
        return mean_of_sums(terms, _product(weight, shares), scale=scale)
    if average == "positions" or shares is None:
        return mean_of_sums(terms, weight, shares, scale=scale)
    shares = shares.to(terms.dtype)
    total = shares.sum(dim=1)
    of_rows = (terms.sum(dim=-1) * shares).sum(dim=1) / torch.where(total > 0, total, 1)
    return weighted_mean(of_rows, _product(weight, total > 0), scale=scale)


def _product(weight: Tensor | None, shares: Tensor | None) -> Tensor | None:
    if weight is None or shares is None:
        return shares if weight is None else weight
    return weight * shares
