"""Normalised knowledge distillation.

Yang, Zeng, Li, Zhang, Yuan, Li, "From Knowledge Distillation to Self-Knowledge Distillation: A Unified Approach with
Normalized Loss and Customized Soft Labels", ICCV 2023, arXiv:2303.13005, section 3.1.
"""

from __future__ import annotations

from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.losses.families.divergences import NKDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen
from mmdistill.losses.probabilities import log_probabilities, probabilities, softened
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.shapes import check_logits, check_target
from mmdistill.losses.targets import counted, leave_out, target_index


def nkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    labelled: Tensor | None = None,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: float = 1.0,
    gamma: float = 1.5,
) -> Tensor:
    """−p_t · log q_t − γ · T² · Σ_{i ≠ t} p̂_i · log q̂_i, averaged over the rows that have a target.

    p are the teacher's probabilities, q the student's, t the target; p̂ and q̂ are softened and normalised over the other
    classes alone, so that both sum to 1 and their cross-entropy is least where they are equal. The target term has no
    temperature. It is a cross-entropy that goes on growing more sure, so the loss is not least where student and
    teacher agree.

    Args:
        student_logits: (B, C) with C ≥ 2, or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient.
        target: (B,) or (B, L) class indices; a negative one is a row without target.
        labelled: (B,), true where a row has a target; rows without one get weight zero.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        temperature: above 0, of the other classes; the paper takes 1 for ImageNet and CIFAR-100.
        gamma: weight γ of the other classes; the paper takes 1.5.

    Returns:
        A scalar, at least 0, and not 0 where student and teacher agree. Typical weight: 1.

    Raises:
        InputError: when the shapes do not belong together, or there is only one class.
    """
    check_logits(student_logits, teacher_logits)
    check_target(target, student_logits)
    if student_logits.shape[-1] < 2:
        raise InputError("nkd compares the classes beside the target, but the logits have only one class")
    index = target_index(target)
    student, teacher = widen(student_logits), widen(teacher_logits.detach())
    target_term = log_probabilities(student).gather(-1, index) * probabilities(teacher).gather(-1, index)
    others = log_probabilities(leave_out(softened(student, temperature), index))
    soft = probabilities(leave_out(softened(teacher, temperature), index))
    other_term = (soft * others).sum(dim=-1)
    values = -(target_term.squeeze(-1) + gamma * temperature**2 * other_term)
    return weighted_mean(values, *counted(target, labelled, weight, mask))


class NKD(DistillationLoss):
    """`nkd` as a module."""

    options_type = NKDOptions
    temperature: float
    gamma: float

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        target: Tensor,
        labelled: Tensor | None = None,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `nkd`."""
        return nkd(
            student_logits,
            teacher_logits,
            target,
            labelled,
            weight,
            mask,
            temperature=self.temperature,
            gamma=self.gamma,
        )
