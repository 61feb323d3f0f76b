"""Squared error between attention scores.

Jiao, Yin, Shang, Jiang, Chen, Li, Wang, Liu, "TinyBERT: Distilling BERT for Natural Language Understanding", EMNLP
Findings 2020, arXiv:1909.10351, equation 7.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mmdistill.losses.families.hidden_states import AttentionMSEOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.token_pairs import check_attention, check_mask, pair_mask


def attention_mse(
    student_attention: Tensor,
    teacher_attention: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    heads: Literal["mean", "summed_maps"] = "mean",
) -> Tensor:
    """Squared error between attention scores before the softmax, averaged over the pairs of real tokens.

    Without a mask TextBrewer sets scores below −0.001 to zero, meaning those of padding, and loses ordinary negative
    scores by it; here only the mask leaves pairs out.

    Args:
        student_attention: (B, heads, L, L), queries by keys.
        teacher_attention: as many rows and tokens; receives no gradient. As many heads unless maps are summed.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at real tokens; a pair counts when both its tokens do.
        heads: ``mean`` of the errors of all heads, as in the paper; or ``summed_maps``, the error between the sums of
            all heads' scores, for which the numbers of heads may differ (TextBrewer).

    Returns:
        A scalar, at least 0, and 0 where the scores agree. Typical weight: 1, beside fitnets on the hidden states.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_attention(student_attention, teacher_attention, equal_heads=heads == "mean")
    rows, _, length, _ = student_attention.shape
    check_mask(mask, rows, length)
    student, teacher = widen(student_attention), widen(teacher_attention.detach())
    if heads == "summed_maps":
        student, teacher = student.sum(dim=1, keepdim=True), teacher.sum(dim=1, keepdim=True)
    pairs, difference = pair_mask(mask), student - teacher
    if pairs is not None:
        # Scores of padding may be −∞, and ∞ · 0 is no number.
        difference = torch.where(pairs[:, None], difference, 0)
    errors = difference.square().mean(dim=1)
    return weighted_mean(errors.flatten(1), weight, None if pairs is None else pairs.flatten(1))


class AttentionMSE(DistillationLoss):
    """`attention_mse` as a module."""

    options_type = AttentionMSEOptions
    heads: Literal["mean", "summed_maps"]

    def forward(
        self,
        student_attention: Tensor,
        teacher_attention: Tensor,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `attention_mse`."""
        return attention_mse(student_attention, teacher_attention, weight, mask, heads=self.heads)
