"""Self-attention relation distillation (MiniLMv2, and the value relations of MiniLM).

Wang, Bao, Huang, Dong, Wei, "MiniLMv2: Multi-Head Self-Attention Relation Distillation for Compressing Pretrained
Transformers", ACL Findings 2021, arXiv:2012.15828, equations 5 to 8; value relations also in Wang et al., "MiniLM",
NeurIPS 2020, arXiv:2002.10957.
"""

from __future__ import annotations

import math

from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.losses.families.hidden_states import MiniLMOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen, without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.token_pairs import check_mask, log_attention


@without_autocast
def minilm(
    student_tokens: Tensor,
    teacher_tokens: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    relation_heads: int = 4,
) -> Tensor:
    """KL(teacher ‖ student) between relations of tokens, averaged over relation heads and real tokens.

    A relation is the softmax over the scaled inner products of a token with all others, computed in each of
    `relation_heads` parts of the channels; neither widths nor attention heads have to agree. The paper's loss is the
    sum of three such terms: between the queries, between the keys and between the values of one layer of each side, so
    a recipe names the loss once for each of these taps. The values' alone is the second term of the first MiniLM.
    Hidden states serve too.

    Args:
        student_tokens: (B, L, D), the vectors of all attention heads side by side.
        teacher_tokens: (B, L, D'); receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at real tokens.
        relation_heads: parts of both D and D'; the paper takes 48 for a BERT of 12 heads, 64 for one of 16.

    Returns:
        A scalar, at least 0, and 0 where the relations agree. Typical weight: 1 each for queries, keys and values,
        without other losses.

    Raises:
        InputError: when the shapes do not belong together, or a width is no multiple of `relation_heads`.
    """
    if student_tokens.dim() != 3 or student_tokens.shape[:2] != teacher_tokens.shape[:-1]:
        raise InputError(
            f"minilm compares tokens (rows, tokens, width) of equal length, but student_tokens has shape "
            f"{tuple(student_tokens.shape)}, teacher_tokens {tuple(teacher_tokens.shape)}"
        )
    check_mask(mask, *student_tokens.shape[:2])
    student = log_attention(_relations(student_tokens, relation_heads, "student"), mask)
    teacher = log_attention(_relations(teacher_tokens.detach(), relation_heads, "teacher"), mask)
    divergence = (teacher.exp() * (teacher - student)).sum(dim=-1).mean(dim=1)
    return weighted_mean(divergence, weight, mask)


def _relations(tokens: Tensor, heads: int, side: str) -> Tensor:
    """Scaled inner products (B, heads, L, L) of tokens (B, L, D)."""
    width = tokens.shape[-1]
    if width % heads:
        raise InputError(
            f"The width of {side}_tokens, {width}, is no multiple of {heads} relation heads",
            where="minilm",
            fix="Set relation_heads to a number that divides both widths",
        )
    parts = widen(tokens).unflatten(-1, (heads, width // heads)).transpose(1, 2)
    return parts @ parts.transpose(-1, -2) / math.sqrt(width // heads)


class MiniLM(DistillationLoss):
    """`minilm` as a module."""

    options_type = MiniLMOptions
    relation_heads: int

    def forward(
        self,
        student_tokens: Tensor,
        teacher_tokens: Tensor,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `minilm`."""
        return minilm(student_tokens, teacher_tokens, weight, mask, relation_heads=self.relation_heads)
