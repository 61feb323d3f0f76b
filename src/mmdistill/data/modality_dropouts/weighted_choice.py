"""One of several things for each row, by weight."""

from __future__ import annotations

import torch
from torch import Tensor


def weighted_choice(weights: Tensor, draws: Tensor) -> Tensor:
    """The index of one entry of each row, with a chance in proportion to its weight.

    Args:
        weights: (B, S), not negative.
        draws: (B,) uniform numbers in [0, 1).

    Returns:
        int64 (B,); never an entry of weight zero, unless all of the row are, when it is 0.
    """
    reached = weights.cumsum(dim=1)
    total = reached[:, -1:]
    chosen = (reached <= draws.unsqueeze(1) * total).sum(dim=1)
    # The product may be rounded up to the total, where the last entry that counts is meant.
    last = (reached < total).sum(dim=1)
    return torch.minimum(chosen, last)
