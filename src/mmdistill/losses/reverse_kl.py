"""Reverse KL divergence: the student's own probabilities weigh the classes.

Gu, Dong, Wei, Huang, "MiniLLM: Knowledge Distillation of Large Language Models", ICLR 2024, arXiv:2306.08543, section
2.1.
"""

from __future__ import annotations

from torch import Tensor

from mmdistill.losses.families.divergences import ReverseKLOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.probabilities import kl_terms, log_probabilities
from mmdistill.losses.reduction import mean_of_sums
from mmdistill.losses.shapes import check_logits


def reverse_kl(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: float = 1.0,
) -> Tensor:
    """T² · KL(softmax(student / T) ‖ softmax(teacher / T)), summed over classes, averaged over rows or positions.

    Forward KL (`kd`) asks the student to cover everything that the teacher finds possible; reverse KL asks it to leave
    out what the teacher finds impossible, so that a small student settles on the teacher's main modes. This is the
    divergence at each position, as GKD and DistiLLM use it; MiniLLM estimates that of whole sequences, sampled from the
    student, with a policy gradient.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        temperature: above 0; published language models use 1.

    Returns:
        A scalar, at least 0, and 0 where student and teacher agree up to a constant per row. Typical weight: 1.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    student = log_probabilities(student_logits, temperature)
    teacher = log_probabilities(teacher_logits.detach(), temperature)
    return mean_of_sums(kl_terms(student, teacher), weight, mask, scale=temperature**2)


class ReverseKL(DistillationLoss):
    """`reverse_kl` as a module."""

    options_type = ReverseKLOptions
    temperature: float

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """See `reverse_kl`."""
        return reverse_kl(student_logits, teacher_logits, weight, mask, temperature=self.temperature)
