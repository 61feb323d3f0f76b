"""How the values of positions become one number: every position alike, or every row alike."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from mmdistill.losses.reduction import weighted_mean

Average: TypeAlias = Literal["positions", "rows"]


def mean_of_positions(values: Tensor, weight: Tensor | None, shares: Tensor | None, average: Average) -> Tensor:
    """The mean of (B,) or (B, L) values.

    Args:
        values: one a row, or one a position.
        weight: (B,) weight of each row, not negative.
        shares: the shape of `values`: what each counts, true or false, or from 0 to 1; all the same when left out.
        average: ``positions`` takes them all together, so that long rows count more; ``rows`` takes the mean of each
            row first, so that rows of any length count the same.

    Returns:
        A scalar; zero when nothing counts.

    Raises:
        InputError: when the shapes do not belong together.
    """
    if values.dim() == 1:
        return weighted_mean(values, _product(weight, shares))
    if average == "positions" or shares is None:
        return weighted_mean(values, weight, shares)
    shares = shares.to(values.dtype)
    total = shares.sum(dim=1)
    of_rows = (values * shares).sum(dim=1) / torch.where(total > 0, total, 1)
    return weighted_mean(of_rows, _product(weight, total > 0))


def _product(weight: Tensor | None, shares: Tensor | None) -> Tensor | None:
    if weight is None or shares is None:
        return shares if weight is None else weight
    return weight * shares
