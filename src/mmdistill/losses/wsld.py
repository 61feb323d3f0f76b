"""Weighted soft label distillation.

Zhou, Song, Chen, Zhou, Wang, Yuan, Zhang, "Rethinking Soft Labels for Knowledge Distillation: A Bias-Variance Tradeoff
Perspective", ICLR 2021, arXiv:2102.00650, section 4 (weighted soft labels).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmdistill.losses.families.divergences import WSLDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.probabilities import log_probabilities
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.shapes import check_logits, check_target
from mmdistill.losses.targets import counted, target_index

_SURE = 1e-7
"""Added to the teacher's cross-entropy, so that a teacher with none at all can be divided by (authors' code)."""


def wsld(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    labelled: Tensor | None = None,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: float = 2.0,
) -> Tensor:
    """−T² · w · Σ softmax(teacher / T) · log softmax(student / T), averaged over the rows that have a target.

    w = 1 − exp(−CE_student / CE_teacher) with the cross-entropies against the target at temperature 1: where the
    student already knows a row better than the teacher, the soft label only adds bias and counts for less. No gradient
    flows through w. The soft term is a cross-entropy, so it is not 0 where student and teacher agree.

    cls_KD multiplies by 2.25 inside its loss; the authors' class multiplies by 2.5 and adds the hard cross-entropy.
    Here the first is the weight of the term and the second the supervised loss.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient.
        target: (B,) or (B, L) class indices; a negative one is a row without target.
        labelled: (B,), true where a row has a target; rows without one get weight zero.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        temperature: above 0; the authors' code takes 2, cls_KD 4.

    Returns:
        A scalar, at least 0, and not 0 where student and teacher agree. Typical weight: 2.5 beside 1 of the supervised
        loss.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    check_target(target, student_logits)
    index = target_index(target)
    teacher = log_probabilities(teacher_logits.detach())
    ratio = log_probabilities(student_logits.detach()).gather(-1, index) / (teacher.gather(-1, index) - _SURE)
    # Log-probabilities are logits as well, and these are not used again.
    teacher = teacher.mul_(1 / temperature).softmax(dim=-1)
    cross_entropy = (teacher * log_probabilities(student_logits, temperature)).sum(dim=-1)
    values = torch.expm1(-ratio).squeeze(-1) * cross_entropy
    return weighted_mean(values, *counted(target, labelled, weight, mask), scale=temperature**2)


class WSLD(DistillationLoss):
    """`wsld` as a module."""

    options_type = WSLDOptions
    temperature: float

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        target: Tensor,
        labelled: Tensor | None = None,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `wsld`."""
        return wsld(student_logits, teacher_logits, target, labelled, weight, mask, temperature=self.temperature)
