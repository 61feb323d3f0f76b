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
        stages: the maps (B, C, …) at the end of each stage, shallow to deep; empty when there are none.
        layers: the hidden states (B, L, D) after each layer of a transformer, shallow to deep, under the same mask as
            the tokens; empty when there are none.
    """

    embedding: Tensor
    tokens: Tensor | None = None
    mask: Tensor | None = None
    maps: Tensor | None = None
    stages: tuple[Tensor, ...] = ()
    layers: tuple[Tensor, ...] = ()


def encoded_maps(embedding: Tensor, maps: Tensor, stages: tuple[Tensor, ...]) -> Encoded:
    """An embedding (B, C) and the maps (B, C, H, W) it was pooled from, with each position as a token."""
    return Encoded(embedding, maps.flatten(2).transpose(1, 2), None, maps, stages)
