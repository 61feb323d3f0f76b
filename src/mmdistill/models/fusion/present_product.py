"""The element-wise product over the columns that a row has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor


def present_product(factors: Sequence[Tensor], present: Mapping[str, Tensor], columns: Sequence[str]) -> Tensor:
    """The product of the factors of the present columns: an absent one counts as 1, the neutral element.

    Args:
        factors: (B, D) for each column, in the order of `columns`; finite.
        present: bool (B,) by column.
        columns: the names of the columns.

    Returns:
        (B, D); 1 everywhere in a row that has no column.
    """
    neutral = [
        factor.masked_fill(~present[column].unsqueeze(1), 1) for column, factor in zip(columns, factors, strict=True)
    ]
    # Not torch.prod: its backward pass counts zeros on the host, which would wait for the device in every step.
    return reduce(torch.mul, neutral)
