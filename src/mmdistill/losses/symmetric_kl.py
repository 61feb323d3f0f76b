"""Symmetric KL divergence: forward and reverse KL in one sum.

Kullback, Leibler, "On Information and Sufficiency", Annals of Mathematical Statistics 22, 1951, section 2 (the sum of
both directions; Jeffreys 1946). The weighted sum is a baseline of Ko, Kim, Chen, Yun, "DistiLLM: Towards Streamlined
Distillation for Large Language Models", ICML 2024, arXiv:2402.03898.
"""

from __future__ import annotations

import math

from torch import Tensor

from mmdistill.losses.families.divergences import SymmetricKLOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.probabilities import log_probabilities
from mmdistill.losses.reduction import mean_of_sums
from mmdistill.losses.shapes import check_logits


def symmetric_kl(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: float = 1.0,
    reverse_share: float = 0.5,
) -> Tensor:
    """T² · ((1 − r) · KL(teacher ‖ student) + r · KL(student ‖ teacher)), averaged over rows or positions.

    DistiLLM's code takes r = 0.9 and leaves the teacher's entropy out of the forward term, so that its value is larger
    by (1 − r) times that entropy and not 0 where both agree; its gradient is this one's.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        temperature: above 0; divides both logits.
        reverse_share: r, from 0 (`kd`) to 1 (`reverse_kl`); 0.5 is symmetric.

    Returns:
        A scalar, at least 0, and 0 where student and teacher agree up to a constant per row. Typical weight: 1.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    student = log_probabilities(student_logits, temperature)
    teacher = log_probabilities(teacher_logits.detach(), temperature)
    # Both directions are the same difference of logarithms, under the probabilities of either side.
    mixed = _share_of(student, reverse_share) - _share_of(teacher, 1 - reverse_share)
    return mean_of_sums(mixed * (student - teacher), weight, mask, scale=temperature**2)


def _share_of(logarithms: Tensor, share: float) -> Tensor:
    """share · exp(logarithms); adding in logarithms takes one operation less in the backward pass."""
    return (logarithms + (math.log(share) if share else -math.inf)).exp()


class SymmetricKL(DistillationLoss):
    """`symmetric_kl` as a module."""

    options_type = SymmetricKLOptions
    temperature: float
    reverse_share: float

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """See `symmetric_kl`."""
        return symmetric_kl(
            student_logits,
            teacher_logits,
            weight,
            mask,
            temperature=self.temperature,
            reverse_share=self.reverse_share,
        )
