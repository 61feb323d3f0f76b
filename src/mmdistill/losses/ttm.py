"""Transformed teacher matching: the temperature on the teacher's side alone.

Zheng, Yang, "Knowledge Distillation Based on Transformed Teacher Matching", ICLR 2024, arXiv:2402.11148: the power
transform of the teacher (section 3), TTM (section 3), WTTM with its weight of each row (section 4).
"""

from __future__ import annotations

from torch import Tensor

from mmdistill.losses.families.divergences import TTMOptions, WTTMOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.probabilities import kl_divergence, kl_terms, log_probabilities
from mmdistill.losses.reduction import mean_of_sums, weighted_mean
from mmdistill.losses.shapes import check_logits


def ttm(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    exponent: float = 0.1,
) -> Tensor:
    """KL(p^γ / Σ p^γ ‖ q), p the teacher's probabilities, q the student's; averaged over rows or positions.

    Raising probabilities to the power γ is a temperature of 1 / γ on the teacher's logits. The student keeps
    temperature 1, which adds a term of Rényi entropy to `kd` and keeps the student from growing too sure. There is no
    factor T² in the paper: the gradient does not shrink with a temperature that the student does not have.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        exponent: γ, above 0; below 1 softens the teacher, and 1 leaves it as it is. The paper takes 0.1 to 0.5.

    Returns:
        A scalar, at least 0, and 0 where the student gives the transformed teacher's probabilities. Typical weight: 45
        for CIFAR-100 with γ = 0.1.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    teacher = log_probabilities(teacher_logits.detach(), 1 / exponent)
    return mean_of_sums(kl_terms(teacher, log_probabilities(student_logits)), weight, mask)


def wttm(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    exponent: float = 0.2,
) -> Tensor:
    """Σ p^γ · KL(p^γ / Σ p^γ ‖ q): `ttm` with the sum of the powers as the weight of each row or position.

    The sum goes from 1, where the teacher is sure, to C^(1 − γ), where it finds all classes equally likely: rows on
    which the teacher says more than the label count for more. It multiplies each row's value; the mean is still over
    the rows, so that the size of the loss grows with the number of classes.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        exponent: γ, above 0; below 1 softens the teacher, and 1 gives every row the weight 1.

    Returns:
        A scalar, at least 0, and 0 where the student gives the transformed teacher's probabilities. Typical weight: 4
        for CIFAR-100 with γ = 0.2, beside crd.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    powers = log_probabilities(teacher_logits.detach()) * exponent
    log_sum = powers.logsumexp(dim=-1, keepdim=True)
    divergence = kl_divergence(powers - log_sum, log_probabilities(student_logits))
    return weighted_mean(log_sum.squeeze(-1).exp() * divergence, weight, mask)


class TTM(DistillationLoss):
    """`ttm` as a module."""

    options_type = TTMOptions
    exponent: float

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """See `ttm`."""
        return ttm(student_logits, teacher_logits, weight, mask, exponent=self.exponent)


class WTTM(DistillationLoss):
    """`wttm` as a module."""

    options_type = WTTMOptions
    exponent: float

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """See `wttm`."""
        return wttm(student_logits, teacher_logits, weight, mask, exponent=self.exponent)
