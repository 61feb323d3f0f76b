"""Ranking losses on the classes that a teacher holds likeliest.

DistillKit, Arcee AI, 2024 to 2026, sparse hinge and logistic ranking losses.

Every pair of the teacher's k likeliest classes that the teacher orders, i before j, is a lesson: the student is to
order it the same way. Nothing is learnt of how likely the classes are (logistic) or only up to a margin (hinge), so
both stand beside another loss.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.losses.families.truncated_logits import TopKHingeOptions, TopKLogisticRankingOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.truncation import LOG_OF_NOTHING, log_weight_of_others, truncated_teacher


def topk_hinge(
    student_logits: Tensor,
    teacher_logits: Tensor | None = None,
    teacher_values: Tensor | None = None,
    teacher_indices: Tensor | None = None,
    teacher_log_remainder: Tensor | None = None,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    k: int = 32,
    margin: float | None = None,
) -> Tensor:
    """max(0, margin − (q_i − q_j)) with the student's probabilities q, averaged over the pairs that the teacher orders.

    The mean is over the pairs of a row or position, then over rows or positions. DistillKit averages over the pairs of
    all positions together, which is the same unless the teacher has ties, and leaves out pairs whose probabilities
    differ by less than 1e-8.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient.
        teacher_values: (B, k) or (B, L, k), see `topk_kl`; used in the place of `teacher_logits`.
        teacher_indices: the same shape, int64.
        teacher_log_remainder: (B,) or (B, L); needed only without a margin.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        k: how many classes of a dense teacher are compared.
        margin: by how much the likelier class must lead, in probability; None for the lead that the teacher gives it.

    Returns:
        A scalar from 0 to 1 + margin; without a margin 0 where student and teacher agree. Typical weight: 0.1 to 1
        beside a divergence.

    Raises:
        InputError: when the teacher is missing or incomplete, or shapes do not belong together.
    """
    teacher = truncated_teacher(
        student_logits,
        teacher_logits,
        teacher_values,
        teacher_indices,
        teacher_log_remainder,
        k=k,
        needs_remainder=margin is None,
    )
    logits = widen(student_logits)
    student = _probabilities(logits.gather(-1, teacher.indices), log_weight_of_others(logits, teacher.indices))
    lead = _differences(_probabilities(teacher.values, teacher.log_remainder)) if margin is None else margin
    return weighted_mean(_mean_of_pairs((lead - _differences(student)).relu(), teacher.values), weight, mask)


def topk_logistic_ranking(
    student_logits: Tensor,
    teacher_logits: Tensor | None = None,
    teacher_values: Tensor | None = None,
    teacher_indices: Tensor | None = None,
    teacher_log_remainder: Tensor | None = None,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    k: int = 32,
) -> Tensor:
    """log(1 + exp(−(z_i − z_j))) with the student's logits z, averaged over the pairs that the teacher orders.

    The mean is taken as in `topk_hinge`.

    Args:
        student_logits: as in `topk_hinge`, like every argument.
        teacher_logits: see there.
        teacher_values: see there.
        teacher_indices: see there.
        teacher_log_remainder: not used, since an order has no remainder; taken so that a stored teacher binds whole.
        weight: see there.
        mask: see there.
        k: see there.

    Returns:
        A scalar above 0 that falls as the student's lead in the teacher's direction grows; it has no minimum.
        Typical weight: 0.1 to 1 beside a divergence.

    Raises:
        InputError: as in `topk_hinge`.
    """
    teacher = truncated_teacher(
        student_logits,
        teacher_logits,
        teacher_values,
        teacher_indices,
        teacher_log_remainder,
        k=k,
        needs_remainder=False,
    )
    lead = _differences(widen(student_logits).gather(-1, teacher.indices))
    return weighted_mean(_mean_of_pairs(F.softplus(-lead), teacher.values), weight, mask)


def _probabilities(kept: Tensor, rest: Tensor) -> Tensor:
    return torch.cat((kept, rest[..., None]), dim=-1).softmax(dim=-1)[..., :-1]


def _differences(values: Tensor) -> Tensor:
    """(…, k) to (…, k, k): the value of i minus that of j."""
    return values[..., :, None] - values[..., None, :]


def _mean_of_pairs(losses: Tensor, teacher_values: Tensor) -> Tensor:
    """(…, k, k) to (…): the mean over the pairs that the teacher orders, 0 where it orders none."""
    known = teacher_values > LOG_OF_NOTHING / 2
    ordered = (_differences(teacher_values) > 0) & known[..., None, :]
    return (losses * ordered).sum(dim=(-2, -1)) / ordered.sum(dim=(-2, -1)).clamp(min=1)


class TopKHinge(DistillationLoss):
    """`topk_hinge` as a module."""

    options_type = TopKHingeOptions
    k: int
    margin: float | None

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor | None = None,
        teacher_values: Tensor | None = None,
        teacher_indices: Tensor | None = None,
        teacher_log_remainder: Tensor | None = None,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `topk_hinge`."""
        return topk_hinge(
            student_logits,
            teacher_logits,
            teacher_values,
            teacher_indices,
            teacher_log_remainder,
            weight,
            mask,
            k=self.k,
            margin=self.margin,
        )


class TopKLogisticRanking(DistillationLoss):
    """`topk_logistic_ranking` as a module."""

    options_type = TopKLogisticRankingOptions
    k: int

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor | None = None,
        teacher_values: Tensor | None = None,
        teacher_indices: Tensor | None = None,
        teacher_log_remainder: Tensor | None = None,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `topk_logistic_ranking`."""
        return topk_logistic_ranking(
            student_logits,
            teacher_logits,
            teacher_values,
            teacher_indices,
            teacher_log_remainder,
            weight,
            mask,
            k=self.k,
        )
