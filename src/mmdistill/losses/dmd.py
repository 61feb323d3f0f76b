"""Decoupled multimodal distilling (DMD): what keeps the shared and the private space of each modality what they are.

Li, Wang, Cui, "Decoupled Multimodal Distilling for Emotion Recognition", CVPR 2023, arXiv:2303.13802, section 3
(feature decoupling). Its graph distillation is in `mmdistill.losses.graph_distillation`.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.losses.columns import stack_columns, stack_pairs
from mmdistill.losses.families.shared_private import DMDMarginOptions, DMDOrthogonalityOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.row_shares import row_shares
from mmdistill.losses.unit_vectors import unit_vectors


@without_autocast
def dmd_margin(
    student_shared: tuple[Tensor, ...],
    target: Tensor,
    labelled: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    margin: float = 0.1,
    margin_scale: Literal["constant", "target_distance"] = "constant",
    triplets: Literal["crossed", "all"] = "crossed",
    average: Literal["triplets", "anchors"] = "triplets",
) -> Tensor:
    """max(0, margin − cos(anchor, positive) + cos(anchor, negative)), averaged over triplets of shared representations.

    In the paper the positive has the anchor's target and another column, the negative another target and the anchor's
    column (``crossed``): what is shared is to tell targets apart, not modalities. The authors' code takes every
    other representation, of the same target as positive and of another as negative (``all``), averages over the
    triplets of an anchor and then over anchors, and overwrites its margin with 0.15 · |difference of the targets|:
    ``triplets="all", average="anchors", margin_scale="target_distance", margin=0.15``.

    Triplets are summed exactly without being listed: for n representations it takes O(n² log n) time and O(n²) memory.

    Args:
        student_shared: (B, D) each, one a column.
        target: (B,) class indices, or numbers.
        labelled: (B,), true where a row has a target; rows without one get weight zero.
        weight: (B,) weight of each row, not negative; a triplet weighs the product.
        margin: by how much the positive's cosine is to exceed the negative's, or what it is multiplied with.
        margin_scale: ``constant``, or ``target_distance``: times |target of the anchor − that of the negative|.
        triplets: ``crossed`` or ``all``, see above.
        average: over all ``triplets``, or over those of each anchor and then over ``anchors``.

    Returns:
        A scalar from 0, reached where every positive is closer by the margin, to 2 + the largest margin; 0 where there
        is no triplet. Typical weight: 0.1, or 0.01 as in the authors' code.

    Raises:
        InputError: when shapes do not belong together, or ``crossed`` has a single column.
    """
    shared = stack_columns(student_shared, "student_shared", at_least=2 if triplets == "crossed" else 1)
    rows, columns = shared.shape[:2]
    if target.shape != (rows,):
        raise InputError(f"target has shape {tuple(target.shape)}, but student_shared has {rows} rows")
    shared = unit_vectors(shared).flatten(0, 1)
    row_weight = _row_weight(shared, rows, labelled, weight)
    target = target.repeat_interleave(columns)
    column = torch.arange(columns, device=shared.device).repeat(rows)
    anchors = row_weight.repeat_interleave(columns)
    same_target = target[:, None] == target
    same_column = column[:, None] == column
    positive = same_target & ~torch.eye(len(shared), dtype=torch.bool, device=shared.device)
    negative = ~same_target
    if triplets == "crossed":
        positive, negative = positive & ~same_column, negative & same_column
    cosine = shared @ shared.T
    distance = (target[:, None] - target).abs() if margin_scale == "target_distance" else 1
    positive_weight, negative_weight = positive * anchors, negative * anchors
    hinge = _sum_of_hinges(cosine, cosine + margin * distance, positive_weight, negative_weight)
    count = positive_weight.sum(dim=1) * negative_weight.sum(dim=1)
    if average == "triplets":
        return _mean((anchors * hinge).sum(), (anchors * count).sum())
    return weighted_mean(_mean(hinge, count), anchors * (count > 0))


def _row_weight(values: Tensor, rows: int, labelled: Tensor | None, weight: Tensor | None) -> Tensor:
    """(B,) in the precision of `values`, of mean 1 over the rows that count."""
    if weight is not None and weight.shape != (rows,):
        raise InputError(f"The weight has shape {tuple(weight.shape)}, but there are {rows} rows")
    if labelled is not None:
        weight = labelled if weight is None else weight * labelled
    shares = row_shares(values.new_empty(rows), weight)
    # Relative to their mean: a triplet weighs the product of three, which tiny or huge ones would lose.
    return shares * (shares > 0).sum()


def _mean(total: Tensor, count: Tensor) -> Tensor:
    return total / torch.where(count > 0, count, 1)


def _sum_of_hinges(low: Tensor, high: Tensor, low_weight: Tensor, high_weight: Tensor) -> Tensor:
    """Σ_j Σ_k low_weight_j · high_weight_k · max(0, high_k − low_j) of each row: four (N, N) to (N,).

    With the highs in order, those above a low are the ones behind its place, so that sums from there on say it all.
    """
    high, order = high.sort(dim=1)
    high_weight = high_weight.gather(1, order)
    place = torch.searchsorted(high.detach().contiguous(), low.detach().contiguous(), right=True)
    weight_above = _sums_from(high_weight).gather(1, place)
    value_above = _sums_from(high_weight * high).gather(1, place)
    return (low_weight * (value_above - low * weight_above)).sum(dim=1)


def _sums_from(values: Tensor) -> Tensor:
    """Sums over the entries from each place to the end, and 0 behind it: (N, M) to (N, M + 1)."""
    sums = values.flip(1).cumsum(dim=1).flip(1)
    return torch.cat((sums, sums.new_zeros(len(sums), 1)), dim=1)


class DMDMargin(DistillationLoss):
    """`dmd_margin` as a module."""

    options_type = DMDMarginOptions
    margin: float
    margin_scale: Literal["constant", "target_distance"]
    triplets: Literal["crossed", "all"]
    average: Literal["triplets", "anchors"]

    def forward(
        self,
        student_shared: tuple[Tensor, ...],
        target: Tensor,
        labelled: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """See `dmd_margin`."""
        return dmd_margin(
            student_shared,
            target,
            labelled,
            weight,
            margin=self.margin,
            margin_scale=self.margin_scale,
            triplets=self.triplets,
            average=self.average,
        )


def dmd_orthogonality(
    student_shared: tuple[Tensor, ...],
    student_private: tuple[Tensor, ...],
    weight: Tensor | None = None,
    *,
    form: Literal["positive", "signed"] = "positive",
) -> Tensor:
    """Σ max(0, cos(shared, private)) over the columns, averaged over rows.

    The paper writes the cosine itself, whose minimum is not where the two are orthogonal but where they are opposite
    (``form="signed"``). The authors' code takes its positive part, as here; it passes three axes to a function whose
    cosine then runs over the rows of the batch in old versions of PyTorch, and is refused in current ones.

    Args:
        student_shared: (B, D) each, one a column.
        student_private: the same columns and shapes.
        weight: (B,) weight of each row, not negative.
        form: ``positive`` part of the cosine, or the cosine with its sign.

    Returns:
        A scalar from 0 to the number of columns; from minus that number with ``signed``. Typical weight: 0.1, or 0.01
        as in the authors' code.

    Raises:
        InputError: when the columns or shapes of the two differ.
    """
    shared, private = stack_pairs(student_shared, "student_shared", student_private, "student_private")
    cosine = (unit_vectors(shared) * unit_vectors(private)).sum(dim=-1)
    return weighted_mean((cosine.clamp(min=0) if form == "positive" else cosine).sum(dim=1), weight)


class DMDOrthogonality(DistillationLoss):
    """`dmd_orthogonality` as a module."""

    options_type = DMDOrthogonalityOptions
    form: Literal["positive", "signed"]

    def forward(
        self, student_shared: tuple[Tensor, ...], student_private: tuple[Tensor, ...], weight: Tensor | None = None
    ) -> Tensor:
        """See `dmd_orthogonality`."""
        return dmd_orthogonality(student_shared, student_private, weight, form=self.form)
