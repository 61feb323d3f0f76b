"""Skewed KL divergences: from one side to a mixture of both, which bounds the loss and its gradient.

Ko, Kim, Chen, Yun, "DistiLLM: Towards Streamlined Distillation for Large Language Models", ICML 2024,
arXiv:2402.03898, section 3.1 (skew KL, equation 5, and skew reverse KL).
"""

from __future__ import annotations

from torch import Tensor

from mmdistill.losses.families.divergences import SkewedKLOptions, SkewedReverseKLOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.probabilities import log_mixture, log_probabilities, probabilities
from mmdistill.losses.reduction import mean_of_sums
from mmdistill.losses.shapes import check_logits


def skewed_kl(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: float = 1.0,
    skew: float = 0.1,
) -> Tensor:
    """T² · KL(p ‖ α·p + (1 − α)·q), p the teacher's probabilities, q the student's; averaged over rows or positions.

    Forward KL grows without bound where the student gives nothing to a class of the teacher; a share α of the teacher
    in the second argument bounds it by −log α. DistiLLM's code leaves the teacher's entropy out, so that its value is
    larger by it and not 0 where both agree; its gradient is this one's.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        temperature: above 0; divides both logits.
        skew: α, between 0 and 1; the paper takes 0.1.

    Returns:
        A scalar from 0, where student and teacher agree up to a constant per row, to −T² · log α. Typical weight: 1.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    student = probabilities(student_logits, temperature)
    teacher = log_probabilities(teacher_logits.detach(), temperature)
    mass = teacher.exp()
    terms = mass * (teacher - log_mixture(mass, student, skew))
    return mean_of_sums(terms, weight, mask, scale=temperature**2)


def skewed_reverse_kl(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: float = 1.0,
    skew: float = 0.1,
) -> Tensor:
    """T² · KL(q ‖ α·q + (1 − α)·p), p the teacher's probabilities, q the student's; averaged over rows or positions.

    Reverse KL grows without bound where the student gives mass to what the teacher finds impossible; a share α of the
    student in the second argument bounds it by −log α.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        temperature: above 0; divides both logits.
        skew: α, between 0 and 1; the paper takes 0.1.

    Returns:
        A scalar from 0, where student and teacher agree up to a constant per row, to −T² · log α. Typical weight: 1.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    student = log_probabilities(student_logits, temperature)
    teacher = probabilities(teacher_logits.detach(), temperature)
    mass = student.exp()
    terms = mass * (student - log_mixture(mass, teacher, skew))
    return mean_of_sums(terms, weight, mask, scale=temperature**2)


class SkewedKL(DistillationLoss):
    """`skewed_kl` as a module."""

    options_type = SkewedKLOptions
    temperature: float
    skew: float

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """See `skewed_kl`."""
        return skewed_kl(student_logits, teacher_logits, weight, mask, temperature=self.temperature, skew=self.skew)


class SkewedReverseKL(DistillationLoss):
    """`skewed_reverse_kl` as a module."""

    options_type = SkewedReverseKLOptions
    temperature: float
    skew: float

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """See `skewed_reverse_kl`."""
        return skewed_reverse_kl(
            student_logits, teacher_logits, weight, mask, temperature=self.temperature, skew=self.skew
        )
