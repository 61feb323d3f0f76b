"""Coins that leave every row something."""

from __future__ import annotations

import torch
from torch import Tensor


def shown_of(had: Tensor, draws: Tensor, probability: float | Tensor) -> Tensor:
    """Which columns stay when each is hidden with a chance on its own.

    Where all that a row has would go, the one with the largest draw stays, which is a uniform choice among them.

    Args:
        had: bool (B, M), which columns each row has.
        draws: (B, M) uniform numbers in [0, 1).
        probability: chance of hiding a column, from 0 to below 1.

    Returns:
        bool (B, M). A row that has nothing has nothing still.
    """
    kept = had & (draws >= probability)
    spared = torch.where(had, draws, -1.0).argmax(dim=-1, keepdim=True)
    rescue = torch.zeros_like(kept).scatter_(-1, spared, ~kept.any(dim=-1, keepdim=True))
    return kept | (rescue & had)
