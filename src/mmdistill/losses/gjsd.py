"""Generalised Jensen-Shannon divergence: a bounded divergence between forward and reverse KL.

Agarwal, Vieillard, Zhou, Stanczyk, Ramos, Geist, Bachem, "On-Policy Distillation of Language Models: Learning from
Self-Generated Mistakes" (GKD), ICLR 2024, arXiv:2306.13649, equation 1.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mmdistill.losses.families.divergences import GJSDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.probabilities import kl_divergence, log_mixture, log_probabilities
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.shapes import check_logits


def gjsd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: float = 1.0,
    beta: float = 0.5,
    scale: Literal["temperature_squared", "none"] = "temperature_squared",
) -> Tensor:
    """T² · (β · KL(p ‖ m) + (1 − β) · KL(q ‖ m)) with m = β·p + (1 − β)·q, averaged over rows or positions.

    p are the teacher's probabilities, q the student's. At both ends the formula itself is 0; over β · (1 − β) it tends
    to forward KL as β goes to 0 and to reverse KL as β goes to 1, and these are what β = 0 and β = 1 stand for here,
    as in GKD and TRL. DistiLLM's ``js_distance`` with λ is this with β = 1 − λ.

    The paper averages over the positions of each sequence and then over sequences; its implementations average over
    all positions of the batch, and so does this. Give each row the weight 1 / its length for the paper's average. TRL
    without labels divides by the number of rows alone, so that its loss grows with the length.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        temperature: above 0; divides both logits.
        beta: the teacher's share β in the mixture, from 0 to 1.
        scale: ``temperature_squared``, or ``none`` (TRL).

    Returns:
        A scalar from 0, where student and teacher agree up to a constant per row, to T² · log 2 for β between 0 and 1.
        Typical weight: 1.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    student = log_probabilities(student_logits, temperature)
    teacher = log_probabilities(teacher_logits.detach(), temperature)
    factor = temperature**2 if scale == "temperature_squared" else 1.0
    return weighted_mean(_divergence(student, teacher, beta), weight, mask, scale=factor)


def _divergence(student: Tensor, teacher: Tensor, beta: float) -> Tensor:
    """The divergence of log-probabilities (…, C), shape (…)."""
    if beta == 0:
        return kl_divergence(teacher, student)
    if beta == 1:
        return kl_divergence(student, teacher)
    student_mass, teacher_mass = student.exp(), teacher.exp()
    mixture = log_mixture(teacher_mass, student_mass, beta)
    from_teacher = (teacher_mass * (teacher - mixture)).sum(dim=-1)
    from_student = (student_mass * (student - mixture)).sum(dim=-1)
    return torch.lerp(from_student, from_teacher, beta)


class GJSD(DistillationLoss):
    """`gjsd` as a module."""

    options_type = GJSDOptions
    temperature: float
    beta: float
    scale: Literal["temperature_squared", "none"]

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """See `gjsd`."""
        return gjsd(
            student_logits,
            teacher_logits,
            weight,
            mask,
            temperature=self.temperature,
            beta=self.beta,
            scale=self.scale,
        )
