"""Multi-label logits distillation.

Yang, Xie, Zong, Feng, Niu, Sugiyama, Huang, "Multi-Label Knowledge Distillation", ICCV 2023, arXiv:2308.06453, the
logits term (MLD) of the method L2D.
"""

from __future__ import annotations

from torch import Tensor

from mmdistill.losses.bernoulli import bernoulli_divergence
from mmdistill.losses.families.task_outputs import MultilabelKDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.reduction import mean_of_sums
from mmdistill.losses.shapes import check_logits


def multilabel_kd(
    student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """KL between sigmoid(teacher) and sigmoid(student) of each label, summed over labels, averaged over rows.

    One yes-or-no problem a label, so that labels take no probability from each other as in a softmax. The sum over the
    labels and the absent temperature are the paper's; `binary_kd` averages and softens. The authors' code keeps
    probabilities 1e-8 away from 0 and 1, so that beyond logits of 18 it has no gradient; here nothing is cut.

    Args:
        student_logits: (B, labels), or (B, L, labels) for sequences.
        teacher_logits: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.

    Returns:
        A scalar, at least 0, and 0 where student and teacher agree. Typical weight: 10 beside 1 of the supervised loss.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    return mean_of_sums(bernoulli_divergence(student_logits, teacher_logits), weight, mask)


class MultilabelKD(DistillationLoss):
    """`multilabel_kd` as a module."""

    options_type = MultilabelKDOptions

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """See `multilabel_kd`."""
        return multilabel_kd(student_logits, teacher_logits, weight, mask)
