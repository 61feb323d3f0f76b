"""Decoupled knowledge distillation.

Zhao, Cui, Song, Qiu, Liang, "Decoupled Knowledge Distillation", CVPR 2022, arXiv:2203.08679, equations 1 to 7.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.errors import InputError
from mmdistill.losses.families.logits import DKDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.probabilities import kl_divergence, softened
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.shapes import check_logits, check_target
from mmdistill.losses.targets import counted, leave_out, target_index


def dkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    labelled: Tensor | None = None,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: float = 4.0,
    alpha: float = 1.0,
    beta: float = 8.0,
) -> Tensor:
    """T² · (alpha · TCKD + beta · NCKD), averaged over the rows that have a target.

    TCKD is the KL divergence between the two-way distributions (target, everything else); NCKD that between the
    distributions over the other classes alone. KD is TCKD + (1 − p_target of the teacher) · NCKD (equation 5).

    The authors' code leaves the target out of the non-target softmax by subtracting 1000 from its logit, and takes the
    logarithm of summed probabilities; both fail for large logits. Here the target is left out exactly and everything
    stays in logarithms, with equal results where their code holds.

    Args:
        student_logits: (B, C) with C ≥ 2, or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient.
        target: (B,) or (B, L) class indices; a negative one is a row without target.
        labelled: (B,), true where a row has a target; rows without one get weight zero.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        temperature: above 0; the paper takes 4 (CIFAR-100) and 1 (ImageNet).
        alpha: weight of TCKD.
        beta: weight of NCKD.

    Returns:
        A scalar, at least 0, and 0 where student and teacher agree up to a constant per row. Typical weight: 1.

    Raises:
        InputError: when the shapes do not belong together, or there is only one class.
    """
    check_logits(student_logits, teacher_logits)
    check_target(target, student_logits)
    if student_logits.shape[-1] < 2:
        raise InputError("dkd compares the classes beside the target, but the logits have only one class")
    index = target_index(target)
    student = _decouple(softened(student_logits, temperature), index)
    teacher = _decouple(softened(teacher_logits.detach(), temperature), index)
    target_term = kl_divergence(teacher[0], student[0])
    other_term = kl_divergence(teacher[1], student[1])
    divergence = alpha * target_term + beta * other_term
    return weighted_mean(divergence, *counted(target, labelled, weight, mask), scale=temperature**2)


def _decouple(logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of (target, the rest), shape (…, 2), and over the rest alone, shape (…, C)."""
    others = leave_out(logits, index)
    mass = others.logsumexp(dim=-1, keepdim=True)
    pair = torch.cat((logits.gather(-1, index), mass), dim=-1)
    return F.log_softmax(pair, dim=-1), others - mass


class DKD(DistillationLoss):
    """`dkd` as a module."""

    options_type = DKDOptions
    temperature: float
    alpha: float
    beta: float

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        target: Tensor,
        labelled: Tensor | None = None,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `dkd`."""
        return dkd(
            student_logits,
            teacher_logits,
            target,
            labelled,
            weight,
            mask,
            temperature=self.temperature,
            alpha=self.alpha,
            beta=self.beta,
        )
