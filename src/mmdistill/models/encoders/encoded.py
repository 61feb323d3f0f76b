"""What every encoder hands over."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Encoded(NamedTuple):
    """One column of a batch, encoded.

    Args:
        embedding: (B, dim), one vector a row.
        tokens: (B, L, dim), the same thing before pooling; None when the encoder never has a sequence.
        mask: bool (B, L), which tokens are real; None when all of them are.
        maps: (B, C, …), the last feature maps, for losses that compare them; None when there are none.
    """

    embedding: Tensor
    tokens: Tensor | None = None
    mask: Tensor | None = None
    maps: Tensor | None = None


def pooled_maps(maps: Tensor) -> Encoded:
    """Mean over the positions of (B, C, H, W) maps, with each position as a token."""
    tokens = maps.flatten(2).transpose(1, 2)
    return Encoded(tokens.mean(1), tokens, None, maps)
