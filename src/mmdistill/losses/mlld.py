"""Multi-level logit distillation.

Jin, Wang, Lin, "Multi-Level Logit Distillation", CVPR 2023: the predictions of instances, the batch and the classes are
aligned, each at several temperatures (prediction augmentation).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.losses.families.structured_logits import MLLDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen, without_autocast
from mmdistill.losses.probabilities import kl_terms, log_probabilities
from mmdistill.losses.reduction import mean_of_sums
from mmdistill.losses.row_shares import row_shares
from mmdistill.losses.shapes import check_logits
from mmdistill.losses.transforms.standardise import standardise as standardised


@without_autocast
def mlld(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weight: Tensor | None = None,
    *,
    temperatures: tuple[float, ...] = (2.0, 3.0, 4.0, 5.0, 6.0),
    instance_weight: float = 1.0,
    batch_weight: float = 1.0,
    class_weight: float = 1.0,
    standardise: bool = False,
    selection: Literal["all", "published"] = "all",
) -> Tensor:
    """The sum over the temperatures of an instance, a batch and a class term of the softened probabilities P, (B, C).

    Instance: T² · KL(teacher ‖ student), averaged over rows. Batch: the squared differences of the B × B Gram matrices
    P Pᵀ, summed and divided by B. Class: those of the C × C Gram matrices Pᵀ P, divided by C; this term grows with the
    square of the batch. Only the instance term carries T².

    One call compares one view. The authors show two, weakly and strongly augmented: add a term for each. Their code
    differs from the paper: the half of the rows (and classes) of which the teacher is least sure is selected, but the
    mask meets a loss that is one number already, so that it scales each term by the share of what was selected
    (``selection: published``); and of the five temperatures of the strong view two, 2 and 6, read the weak logits.

    A row of weight zero is in no Gram matrix; with other weights a pair counts the product of its rows', a row of the
    class term its own, all relative to their mean.

    Args:
        student_logits: (B, C).
        teacher_logits: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        temperatures: each above 0, at least one.
        instance_weight: of the instance term.
        batch_weight: of the batch term.
        class_weight: of the class term.
        standardise: whether the instance term sees logits standardised a row (Sun et al., CVPR 2024).
        selection: ``all`` rows and classes as the paper writes it, or the ``published`` scale.

    Returns:
        A scalar, at least 0, and 0 where student and teacher agree up to a constant per row. Typical weight: 0.9 beside
        0.1 of the supervised loss; 9 with `standardise` and temperature 2 in the place of 4.

    Raises:
        InputError: when the shapes do not belong together, or there are positions beside rows.
    """
    check_logits(student_logits, teacher_logits)
    if student_logits.dim() != 2:
        raise InputError(f"mlld compares rows with each other, and student_logits has shape {student_logits.shape}")
    student, teacher = widen(student_logits), widen(teacher_logits.detach())
    shares = row_shares(student, weight)
    row_scale, class_scale = _published_scales(teacher, shares) if selection == "published" else (1.0, 1.0)
    pair = (standardised(student), standardised(teacher)) if standardise else (student, teacher)
    rows, root = _rows_that_count(shares, weight)
    loss = student.new_zeros(())
    for temperature in temperatures:
        logs = [log_probabilities(logits, temperature) for logits in pair]
        if instance_weight > 0:
            term = mean_of_sums(kl_terms(logs[1], logs[0]), weight, scale=temperature**2)
            loss = loss + instance_weight * row_scale * term
        if batch_weight == class_weight == 0:
            continue
        if standardise:
            logs = [log_probabilities(logits, temperature) for logits in (student, teacher)]
        ours, theirs = (log.exp() if root is None else log.exp() * root for log in logs)
        if batch_weight > 0:
            loss = loss + batch_weight * row_scale * _squared_distance(ours @ ours.T, theirs @ theirs.T) / rows
        if class_weight > 0:
            distance = _squared_distance(ours.T @ ours, theirs.T @ theirs)
            loss = loss + class_weight * class_scale * distance / student.shape[1]
    return loss


def _rows_that_count(shares: Tensor, weight: Tensor | None) -> tuple[Tensor | int, Tensor | None]:
    """How many rows count, at least 1, and the root of each one's weight relative to their mean, (B, 1).

    With the rows of P multiplied by it, an entry (i, j) of P Pᵀ has the root of both weights, and Pᵀ P is weighted.
    """
    if weight is None:
        return max(len(shares), 1), None
    rows = (weight > 0).sum().clamp(min=1)
    return rows, (shares * rows).sqrt()[:, None]


def _squared_distance(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).square().sum()


def _published_scales(teacher: Tensor, shares: Tensor) -> tuple[Tensor | float, Tensor | float]:
    """Shares of the rows, and of the classes, that the authors' code selects: confidence not above the median."""
    if teacher.shape[0] == 0:
        return 1.0, 1.0
    probability = teacher.softmax(dim=-1)
    counts = shares > 0
    confidence = probability.amax(dim=-1)
    median = confidence.masked_fill(~counts, torch.nan).nanquantile(0.5)
    selected = ((confidence <= median) & counts).sum() / counts.sum().clamp(min=1)
    class_confidence = shares @ probability
    return selected, (class_confidence <= class_confidence.quantile(0.5)).to(teacher.dtype).mean()


class MLLD(DistillationLoss):
    """`mlld` as a module."""

    options_type = MLLDOptions
    temperatures: tuple[float, ...]
    instance_weight: float
    batch_weight: float
    class_weight: float
    standardise: bool
    selection: Literal["all", "published"]

    def forward(self, student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `mlld`."""
        return mlld(
            student_logits,
            teacher_logits,
            weight,
            temperatures=self.temperatures,
            instance_weight=self.instance_weight,
            batch_weight=self.batch_weight,
            class_weight=self.class_weight,
            standardise=self.standardise,
            selection=self.selection,
        )
