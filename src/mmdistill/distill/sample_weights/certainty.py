"""How sure the teacher is of a row."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.losses.precision import widen


def confidence(teacher_logits: Tensor, *, temperature: float = 1.0, power: float = 1.0) -> Tensor:
    """The teacher's largest probability.

    Args:
        teacher_logits: (B, C).
        temperature: above 0; divides the logits.
        power: above 0; of the probability.

    Returns:
        (B,) from (1/C)^power to 1.
    """
    return (widen(teacher_logits) / temperature).softmax(dim=-1).amax(dim=-1).pow(power)


def entropy(
    teacher_logits: Tensor, *, temperature: float = 1.0, favour: Literal["certain", "uncertain"] = "certain"
) -> Tensor:
    """One minus the entropy of the teacher's probabilities over its largest value, log C; or that share itself.

    Args:
        teacher_logits: (B, C).
        temperature: above 0; divides the logits.
        favour: which rows count more.

    Returns:
        (B,) from 0 to 1; a single class is certain.
    """
    logits = F.log_softmax(widen(teacher_logits) / temperature, dim=-1)
    # The product of probability and its logarithm without 0 · ∞.
    share = torch.special.entr(logits.exp()).sum(dim=-1) / max(math.log(logits.shape[-1]), 1e-12)
    return (1 - share).clamp(0, 1) if favour == "certain" else share.clamp(0, 1)
