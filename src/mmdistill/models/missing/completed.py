"""What every strategy for missing columns hands over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from mmdistill.models.fusion.fused import NOTHING


class Completed(NamedTuple):
    """What a fusion is given in place of what the encoders gave.

    Args:
        embeddings: column → (B, dim).
        tokens: column → (B, L, dim), for the columns that have them.
        masks: column → bool (B, L), for those columns.
        present: column → bool (B,): where there is something to fuse, a stand-in included.
        taps: see `Fused`.
        auxiliary: see `Fused`.
    """

    embeddings: Mapping[str, Tensor]
    tokens: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    taps: Mapping[str, Tensor] = NOTHING
    auxiliary: Mapping[str, Tensor] = NOTHING
