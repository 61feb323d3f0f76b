"""Pairs of tokens of a sequence, of which padding leaves some out."""

from __future__ import annotations

import torch
from torch import Tensor

from mmdistill.errors import InputError


def check_mask(mask: Tensor | None, rows: int, length: int) -> None:
    """Require a mask of one value a token.

    Raises:
        InputError: when it has another shape than (rows, length).
    """
    if mask is not None and mask.shape != (rows, length):
        raise InputError(f"The mask has shape {tuple(mask.shape)}, but there are {rows} rows of {length} tokens")


def check_attention(student: Tensor, teacher: Tensor, *, equal_heads: bool) -> None:
    """Require attention scores (B, heads, L, L) of as many rows and tokens, and of as many heads where that is asked.

    Raises:
        InputError: when they are not.
    """
    ours, theirs = tuple(student.shape), tuple(teacher.shape)
    if len(ours) != 4 or ours[2] != ours[3]:
        raise InputError(f"student_attention has shape {ours}, not (rows, heads, tokens, tokens)")
    if len(theirs) != 4 or ours[0] != theirs[0] or ours[2:] != theirs[2:]:
        raise InputError(f"The shapes differ: student_attention has shape {ours}, teacher_attention {theirs}")
    if equal_heads and ours[1] != theirs[1]:
        raise InputError(
            f"The student has {ours[1]} attention heads, the teacher {theirs[1]}",
            fix="Set `heads` to the form that joins all heads of a side, or compare token relations with minilm",
        )


def pair_mask(mask: Tensor | None) -> Tensor | None:
    """Which pairs of tokens are real, bool (B, L, L), from which tokens are, (B, L)."""
    if mask is None:
        return None
    real = mask.bool()
    return real[:, :, None] & real[:, None, :]


def log_attention(scores: Tensor, mask: Tensor | None) -> Tensor:
    """The logarithm of the softmax over keys, with padded keys left out.

    Args:
        scores: (B, heads, L, L), queries by keys, finite where both tokens are real.
        mask: (B, L), true at real tokens; all when left out.

    Returns:
        (B, heads, L, L); that of a padded key is finite, so that its probability of 0 times it is 0, and a padded query
        is uniform.
    """
    pairs = pair_mask(mask)
    if pairs is not None:
        scores = torch.where(pairs[:, None], scores, torch.finfo(scores.dtype).min / 4)
    return scores.log_softmax(dim=-1)
