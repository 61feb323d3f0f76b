"""Margin-aware distillation and modality-aware regularisation for incomplete inputs (MMANet).

Wei, Luo, Luo, "MMANet: Margin-aware Distillation and Modality-aware Regularization for Incomplete Multimodal Learning",
CVPR 2023, arXiv:2304.08028, section 3 (regularisation: equation 14).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.errors import InputError
from mmdistill.losses.families.modalities import MADOptions, MMANetRegularisationOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen, without_autocast
from mmdistill.losses.probabilities import log_probabilities
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.relations import counted, paired_rows
from mmdistill.losses.row_shares import row_shares
from mmdistill.losses.targets import counted as with_target
from mmdistill.losses.unit_vectors import unit_vectors


@without_autocast
def mad(
    student_features: Tensor,
    teacher_features: Tensor,
    teacher_logits: Tensor,
    weight: Tensor | None = None,
    *,
    uncertainty: Literal["anchor", "partner"] = "anchor",
) -> Tensor:
    """Σ_i q_i ‖g_i(student) − g_i(teacher)‖², g_i a row's products with all rows, brought to length 1.

    q is the entropy of the teacher's classes, over its sum: rows near a boundary, where the teacher hesitates, count
    most. The paper weighs the anchor i, as the authors' segmentation code does; their classification code lets the
    entropy run over the other axis and so weighs the partner (``uncertainty="partner"``). Their segmentation code also
    brings the first and the second half of each g_i to length 1 apart.

    Args:
        student_features: (B, D), or maps (B, C, H, W), which are flattened.
        teacher_features: (B, any width), or maps; receives no gradient.
        teacher_logits: (B, C); receives no gradient.
        weight: (B,) weight of each row, not negative; it multiplies the entropy.
        uncertainty: whose entropy weighs the product of two rows.

    Returns:
        A scalar from 0, where both sides have the same products of rows up to a factor, to 4 (``anchor``); 0 where the
        teacher is certain of every row. Typical weight: 1.

    Raises:
        InputError: when the shapes do not belong together.
    """
    student, teacher = paired_rows(student_features, teacher_features, weight)
    if teacher_logits.dim() != 2 or len(teacher_logits) != len(student):
        raise InputError(f"teacher_logits has shape {tuple(teacher_logits.shape)}, not ({len(student)}, classes)")
    counts = counted(student, weight)[:, None]
    difference = _products(student * counts) - _products(teacher * counts)
    of_anchor = difference.square().sum(dim=1 if uncertainty == "anchor" else 0)
    log_chances = log_probabilities(teacher_logits.detach())
    entropy = -(log_chances.exp() * log_chances).sum(dim=-1)
    return (row_shares(student, entropy if weight is None else entropy * weight) * of_anchor).sum()


def _products(rows: Tensor) -> Tensor:
    """Products of all pairs of rows (B, B), each row of it of length 1."""
    return unit_vectors(rows @ rows.T)


class MAD(DistillationLoss):
    """`mad` as a module."""

    options_type = MADOptions
    uncertainty: Literal["anchor", "partner"]

    def forward(
        self,
        student_features: Tensor,
        teacher_features: Tensor,
        teacher_logits: Tensor,
        weight: Tensor | None = None,
    ) -> Tensor:
        """See `mad`."""
        return mad(student_features, teacher_features, teacher_logits, weight, uncertainty=self.uncertainty)


def mmanet_regularisation(
    student_logits: Tensor,
    target: Tensor,
    seen: Tensor,
    labelled: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    weak: tuple[tuple[bool, ...], ...] | None = None,
) -> Tensor:
    """Cross-entropy of an auxiliary head on rows whose columns are a weak combination, over all rows of the batch.

    The paper finds the combinations that the student is worst at, against the teacher, while training and then names
    them; here they are given, or every incomplete one is taken. The term has no teacher of its own: it stands beside
    `mad` and keeps the student from living on its strong modalities.

    Args:
        student_logits: (B, C) of the auxiliary head.
        target: (B,) class indices; a negative one is a row without target.
        seen: bool (B, columns), which columns the student was shown of each row, which may be fewer than the row has.
        labelled: (B,), true where a row has a target; rows without one get weight zero.
        weight: (B,) weight of each row, not negative.
        weak: combinations, each with a truth value a column in sorted order; None takes every row that lacks a column.

    Returns:
        A scalar, at least 0, and 0 where no row has a weak combination. Typical weight: 1.

    Raises:
        InputError: when shapes do not belong together, or a combination has not one value a column.
    """
    if student_logits.dim() != 2 or target.shape != student_logits.shape[:1]:
        raise InputError(f"student_logits has shape {tuple(student_logits.shape)}, target {tuple(target.shape)}")
    if seen.dim() != 2 or len(seen) != len(target):
        raise InputError(f"seen has shape {tuple(seen.shape)}, not ({len(target)}, columns)")
    index = target.clamp(min=0)
    values = F.cross_entropy(widen(student_logits), index, reduction="none") * _matches(seen.bool(), weak)
    return weighted_mean(values, *with_target(target, labelled, weight, None))


def _matches(seen: Tensor, weak: tuple[tuple[bool, ...], ...] | None) -> Tensor:
    """bool (B,): true at rows with one of the combinations."""
    if weak is None:
        return ~seen.all(dim=1)
    columns = seen.unbind(dim=1)
    found = torch.zeros_like(columns[0])
    for combination in weak:
        if len(combination) != len(columns):
            raise InputError(
                f"The combination {combination} has {len(combination)} values, but there are {len(columns)} columns",
                where="weak",
            )
        same = torch.ones_like(found)
        for column, there in zip(columns, combination, strict=True):
            same = same & (column if there else ~column)
        found = found | same
    return found


class MMANetRegularisation(DistillationLoss):
    """`mmanet_regularisation` as a module."""

    options_type = MMANetRegularisationOptions
    weak: tuple[tuple[bool, ...], ...] | None

    def forward(
        self,
        student_logits: Tensor,
        target: Tensor,
        seen: Tensor,
        labelled: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """See `mmanet_regularisation`."""
        return mmanet_regularisation(student_logits, target, seen, labelled, weight, weak=self.weak)
