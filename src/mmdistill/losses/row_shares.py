"""The share of each row in a mean over the batch, for losses that compare statistics of the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from mmdistill.errors import InputError


def row_shares(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """Weights of the rows that sum to 1, or to 0 where no row counts.

    Args:
        values: (B, …) whose rows and precision are meant.
        weight: (B,) weight of each row, not negative; 1 when left out.

    Returns:
        (B,).

    Raises:
        InputError: when there is not one weight a row.
    """
    rows = values.shape[:1]
    if weight is None:
        weight = values.new_ones(rows)
    elif weight.shape != rows:
        raise InputError(f"The weight has shape {tuple(weight.shape)}, but there are {rows[0]} rows")
    weight = weight.to(values.dtype)
    total = weight.sum()
    return weight / torch.where(total > 0, total, 1)
