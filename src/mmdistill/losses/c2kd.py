"""Distillation across modalities of the rows and classes on which both sides can agree (C2KD).

Huo, Xu, Guo, Wang, Guo, "C2KD: Bridging the Modality Gap for Cross-Modal Knowledge Distillation", CVPR 2024: on-the-fly
selection by Kendall's rank correlation, and the KL divergence of the non-target classes.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from mmdistill.errors import InputError
from mmdistill.losses.families.modalities import C2KDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.probabilities import kl_divergence, log_probabilities, softened
from mmdistill.losses.rank_agreement import kendall_agreement
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.shapes import check_logits, check_target
from mmdistill.losses.targets import counted, leave_out, target_index


def c2kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    labelled: Tensor | None = None,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: float = 1.0,
    threshold: float | None = 0.0,
    target_class: Literal["left_out", "logit_0"] = "left_out",
) -> Tensor:
    """T² · [tau(student, teacher) > threshold] · KL of the classes beside the target, averaged over all rows.

    Across modalities, a teacher's view of a row may contradict what the student can see. Rows whose classes the two
    sides rank in too different an order are left out (`kendall_agreement`, without gradient); in the others the
    student follows how the teacher shares out the classes beside the target. The mean counts the rows that were left
    out, as the authors' does, so that the term grows as the two sides come to agree.

    The method trains teacher and student together, each with a proxy head: this loss between the student's proxy and
    the teacher's, the same with exchanged sides for the teacher, and `kd` at temperature 1 in both directions between
    each model's own head and its proxy. The authors' code multiplies the target's logit by zero, so that the target
    takes part in both softmaxes with the logit 0; ``target_class="logit_0"`` gives that form.

    Args:
        student_logits: (B, C) with C ≥ 2, or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient.
        target: (B,) or (B, L) class indices; a negative one is a row without target.
        labelled: (B,), true where a row has a target; rows without one get weight zero.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        temperature: above 0; the paper takes 1.
        threshold: rank agreement that a row has to exceed, from -1 to 1; None takes every row.
        target_class: ``left_out`` of both softmaxes, or there with the logit 0 (``logit_0``, the authors' code).

    Returns:
        A scalar, at least 0, and 0 where no row is selected or the sides agree. Typical weight: 1.

    Raises:
        InputError: when the shapes do not belong together, or there is only one class.
    """
    check_logits(student_logits, teacher_logits)
    check_target(target, student_logits)
    if student_logits.shape[-1] < 2:
        raise InputError("c2kd compares the classes beside the target, but the logits have only one class")
    index = target_index(target)
    student = _beside_target(student_logits, index, temperature, target_class)
    teacher = _beside_target(teacher_logits.detach(), index, temperature, target_class)
    divergence = kl_divergence(teacher, student)
    if threshold is not None:
        divergence = divergence * (kendall_agreement(student_logits, teacher_logits) > threshold)
    return weighted_mean(divergence, *counted(target, labelled, weight, mask)) * temperature**2


def _beside_target(
    logits: Tensor, index: Tensor, temperature: float, target_class: Literal["left_out", "logit_0"]
) -> Tensor:
    """Log-probabilities of the classes beside the target, (…, C)."""
    if target_class == "logit_0":
        return log_probabilities(logits.scatter(-1, index, 0), temperature)
    return F.log_softmax(leave_out(softened(logits, temperature), index), dim=-1)


class C2KD(DistillationLoss):
    """`c2kd` as a module."""

    options_type = C2KDOptions
    temperature: float
    threshold: float | None
    target_class: Literal["left_out", "logit_0"]

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        target: Tensor,
        labelled: Tensor | None = None,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `c2kd`."""
        return c2kd(
            student_logits,
            teacher_logits,
            target,
            labelled,
            weight,
            mask,
            temperature=self.temperature,
            threshold=self.threshold,
            target_class=self.target_class,
        )
