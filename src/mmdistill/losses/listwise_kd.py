"""List-wise ranking distillation: the teacher's order of a list is what the student learns.

Cao, Qin, Liu, Tsai, Li, "Learning to Rank: From Pairwise Approach to Listwise Approach", ICML 2007 (ListNet); Xia, Liu,
Wang, Zhang, Li, "Listwise Approach to Learning to Rank: Theory and Algorithm", ICML 2008 (ListMLE); Reddi et al.,
"RankDistil: Knowledge Distillation for Ranking", AISTATS 2021 (the top of the teacher's list, everything below it kept
low).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.losses.families.structured_logits import BatchListwiseKDOptions, ListwiseKDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen
from mmdistill.losses.probabilities import kl_terms
from mmdistill.losses.rankings import place_surprises
from mmdistill.losses.reduction import mean_of_sums
from mmdistill.losses.row_shares import row_shares
from mmdistill.losses.shapes import check_logits
from mmdistill.losses.truncation import LOG_OF_NOTHING, log_weight_of_others

Form: TypeAlias = Literal["list_mle", "plackett_luce", "list_net"]


def listwise_kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    form: Form = "list_mle",
    top: int | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """The classes of a row as a list that the teacher's scores order, averaged over rows or positions.

    - ``list_mle``: −log of the probability that a Plackett-Luce model with the student's scores gives the teacher's
      order: the sum over places of −log of the softmax among the items not placed before.
    - ``plackett_luce``: the same sum with each place weighted by the teacher's probability of the item at it, so that
      the order of what the teacher holds unlikely hardly counts.
    - ``list_net``: KL between the probabilities of being first, times T²: `kd` under its name in ranking.

    With `top` only that many first places count; all other items stay in every denominator, so that they are kept
    below. RankDistil draws the order from the teacher's scores; here it is the teacher's likeliest order.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient. Of equal scores the first in the row is placed first.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        form: see above.
        top: how many places count; all when None.
        temperature: above 0; divides the scores of both sides.

    Returns:
        A scalar, at least 0; with ``list_mle`` and ``plackett_luce`` not zero at equality, since a wider student's
        margin is always likelier. Typical weight: 1 / C with ``list_mle``, 1 otherwise, beside 1 of the supervised
        loss.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    student, teacher = widen(student_logits) / temperature, widen(teacher_logits.detach()) / temperature
    if form == "list_net":
        terms = kl_terms(teacher.log_softmax(dim=-1), student.log_softmax(dim=-1))
        return mean_of_sums(terms, weight, mask, scale=temperature**2)
    surprises, order = _surprises(student, teacher, top)
    if form == "plackett_luce":
        surprises = surprises * teacher.softmax(dim=-1).gather(-1, order)
    return mean_of_sums(surprises, weight, mask)


def batch_listwise_kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weight: Tensor | None = None,
    *,
    form: Form = "list_mle",
    top: int | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """The rows of a batch as a list that the teacher's scores order, for each output by itself; see `listwise_kd`.

    For scores that rank rows, such as relevance, risk or quality. ``list_mle`` is the mean over the places, so that it
    does not grow with the batch; ``plackett_luce`` weighs a place with the teacher's probability of its row.

    Rows of weight zero are not in the list. Other weights count relative to their mean: for a place the weight of its
    row, in ``list_net`` as if a row of weight 2 were there twice.

    Args:
        student_logits: (B, C), one list a column.
        teacher_logits: the same shape; receives no gradient. Of equal scores the first row is placed first.
        weight: (B,) weight of each row, not negative.
        form: as in `listwise_kd`.
        top: how many places count; all when None.
        temperature: above 0; divides the scores of both sides.

    Returns:
        A scalar, at least 0, averaged over the outputs; 0 for a batch of one row. Typical weight: 1 beside 1 of the
        supervised loss.

    Raises:
        InputError: when the shapes do not belong together, or there are positions beside rows.
    """
    check_logits(student_logits, teacher_logits)
    if student_logits.dim() != 2:
        raise InputError(f"The rows of a batch are the list, and student_logits has shape {student_logits.shape}")
    shares = row_shares(widen(student_logits), weight)
    student = _list_of_rows(student_logits, shares, temperature)
    teacher = _list_of_rows(teacher_logits.detach(), shares, temperature)
    if form == "list_net":
        copies = shares.clamp(min=torch.finfo(shares.dtype).tiny).log()
        terms = kl_terms((teacher + copies).log_softmax(dim=-1), (student + copies).log_softmax(dim=-1))
        return mean_of_sums(terms, scale=temperature**2)
    surprises, order = _surprises(student, teacher, top)
    of_place = shares.expand_as(teacher).gather(-1, order)
    if form == "plackett_luce":
        rows = (shares > 0).sum()
        return mean_of_sums(surprises * of_place * rows * teacher.softmax(dim=-1).gather(-1, order))
    counted = of_place.sum(dim=-1, keepdim=True)
    return mean_of_sums(surprises * of_place / torch.where(counted > 0, counted, 1))


def _list_of_rows(logits: Tensor, shares: Tensor, temperature: float) -> Tensor:
    """(B, C) to (C, B), the rows that do not count so low that they come last and weigh nothing."""
    return torch.where(shares > 0, widen(logits).T / temperature, LOG_OF_NOTHING)


def _surprises(student: Tensor, teacher: Tensor, top: int | None) -> tuple[Tensor, Tensor]:
    """`place_surprises` of the student in the teacher's order, and that order: both (…, places)."""
    if top is None or top >= teacher.shape[-1]:
        order = teacher.argsort(dim=-1, descending=True, stable=True)
        return place_surprises(student.gather(-1, order)), order
    order = teacher.topk(top, dim=-1).indices
    return place_surprises(student.gather(-1, order), log_weight_of_others(student, order)), order


class ListwiseKD(DistillationLoss):
    """`listwise_kd` as a module."""

    options_type = ListwiseKDOptions
    form: Form
    top: int | None
    temperature: float

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """See `listwise_kd`."""
        return listwise_kd(
            student_logits,
            teacher_logits,
            weight,
            mask,
            form=self.form,
            top=self.top,
            temperature=self.temperature,
        )


class BatchListwiseKD(DistillationLoss):
    """`batch_listwise_kd` as a module."""

    options_type = BatchListwiseKDOptions
    form: Form
    top: int | None
    temperature: float

    def forward(self, student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `batch_listwise_kd`."""
        return batch_listwise_kd(
            student_logits, teacher_logits, weight, form=self.form, top=self.top, temperature=self.temperature
        )
