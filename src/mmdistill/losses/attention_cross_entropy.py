"""Cross-entropy between attention distributions.

Yang, Cui, Chen, Che, Liu, Wang, Hu, "TextBrewer: An Open-Source Knowledge Distillation Toolkit for Natural Language
Processing", ACL demonstrations 2020, arXiv:2002.12620, table 2.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from mmdistill.losses.families.hidden_states import AttentionCrossEntropyOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.token_pairs import check_attention, check_mask, log_attention


def attention_cross_entropy(
    student_attention: Tensor,
    teacher_attention: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    heads: Literal["mean", "averaged_maps"] = "mean",
) -> Tensor:
    """Cross-entropy of the student's attention against the teacher's, averaged over heads and real queries.

    TextBrewer leaves padded queries out and relies on scores of padded keys that are very low already; here the mask
    leaves padded keys out as well, which gives the same where they are. Without a mask TextBrewer sets probabilities to
    zero whose score is below −0.001, and loses ordinary ones by it.

    Args:
        student_attention: scores before the softmax, (B, heads, L, L), queries by keys.
        teacher_attention: as many rows and tokens; receives no gradient. As many heads unless maps are averaged.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at real tokens.
        heads: ``mean`` of the cross-entropies of all heads; or ``averaged_maps``, the cross-entropy between the means
            of all heads' scores, for which the numbers of heads may differ.

    Returns:
        A scalar, at least 0; where the distributions agree it is the teacher's entropy. Typical weight: 1.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_attention(student_attention, teacher_attention, equal_heads=heads == "mean")
    rows, _, length, _ = student_attention.shape
    check_mask(mask, rows, length)
    student, teacher = widen(student_attention), widen(teacher_attention.detach())
    if heads == "averaged_maps":
        student, teacher = student.mean(dim=1, keepdim=True), teacher.mean(dim=1, keepdim=True)
    student, teacher = log_attention(student, mask), log_attention(teacher, mask)
    return weighted_mean(-(teacher.exp() * student).sum(dim=-1).mean(dim=1), weight, mask)


class AttentionCrossEntropy(DistillationLoss):
    """`attention_cross_entropy` as a module."""

    options_type = AttentionCrossEntropyOptions
    heads: Literal["mean", "averaged_maps"]

    def forward(
        self,
        student_attention: Tensor,
        teacher_attention: Tensor,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `attention_cross_entropy`."""
        return attention_cross_entropy(student_attention, teacher_attention, weight, mask, heads=self.heads)
