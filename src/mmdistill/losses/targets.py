"""Rows and positions that have a target class, and the classes beside it."""

from __future__ import annotations

import torch
from torch import Tensor


def counted(
    target: Tensor, labelled: Tensor | None, weight: Tensor | None, mask: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """The row weight and the position mask with everything taken out that has no target.

    Args:
        target: (B,) or (B, L) class indices, negative where there is none (-100 in token labels).
        labelled: (B,), true where a row has a target; all when left out.
        weight: (B,) weight of each row.
        mask: (B, L), true at positions that count.

    Returns:
        weight (B,) and mask (B, L) for `weighted_mean`; no mask where the target is one a row.
    """
    if labelled is not None:
        weight = labelled if weight is None else weight * labelled
    known = target >= 0
    if target.dim() == 1:
        return known if weight is None else weight * known, None
    return weight, known if mask is None else mask & known


def target_index(target: Tensor) -> Tensor:
    """The target as an index into the last dimension of the logits, (…, 1); 0 where there is none."""
    return target.clamp(min=0)[..., None]


def leave_out(logits: Tensor, index: Tensor) -> Tensor:
    """The logits with the one at `index` so low that its probability is 0.

    It is finite, so that the target's entry is probability 0 times a finite logarithm rather than 0 · ∞.
    """
    return logits.scatter(-1, index, torch.finfo(logits.dtype).min / 4)
