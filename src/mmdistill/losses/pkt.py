"""Probabilistic knowledge transfer.

Passalis, Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer", ECCV 2018, arXiv:1803.10837,
equations 2 to 8.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mmdistill.losses.families.relations import PKTOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.relations import counted, mean_over_tuples, paired_rows
from mmdistill.losses.unit_vectors import unit_vectors


@without_autocast
def pkt(
    student_features: Tensor,
    teacher_features: Tensor,
    weight: Tensor | None = None,
    *,
    form: Literal["paper", "code"] = "paper",
    epsilon: float = 1e-7,
) -> Tensor:
    """KL divergence between each row's probabilities of the other rows, averaged over rows.

    The probability of row j for row i is in proportion to (cos(x_i, x_j) + 1) / 2. The paper sums the divergences of
    the rows; here they are averaged, so that the weight does not depend on the size of the batch.

    The authors' code, which all toolkits follow, counts a row as its own neighbour, averages over all B² entries
    instead of summing over the neighbours, and adds `epsilon` to lengths and probabilities: form="code".

    Args:
        student_features: (B, D), or maps (B, C, H, W), which are flattened.
        teacher_features: (B, any width), or maps; receives no gradient.
        weight: (B,) weight of each row, not negative; a row of weight zero is no neighbour either.
        form: paper, or code.
        epsilon: above 0; the smallest affinity, which opposite rows have; in the code's form as said above.

    Returns:
        A scalar, at least 0, and 0 where both sides have the same cosines. Typical weight: 500; 30000 with
        form="code", whose values are B times smaller.

    Raises:
        InputError: when the shapes do not belong together.
    """
    student, teacher = paired_rows(student_features, teacher_features, weight)
    counts = counted(student, weight)
    if form == "code":
        return _as_in_code(student, teacher, counts, weight, epsilon)
    others = counts[None, :] & ~torch.eye(len(student), dtype=torch.bool, device=student.device)
    likely, found = (_probabilities(unit_vectors(rows), others, epsilon) for rows in (teacher, student))
    divergence = (likely * (_logarithm(likely, others) - _logarithm(found, others))).sum(dim=1)
    return weighted_mean(divergence, weight)


def _probabilities(rows: Tensor, neighbours: Tensor, epsilon: float) -> Tensor:
    """(B, B): in proportion to (cosine + 1) / 2 over each row's neighbours; zero elsewhere."""
    affinity = ((rows @ rows.T + 1) / 2).clamp(min=epsilon) * neighbours
    total = affinity.sum(dim=1, keepdim=True)
    return affinity / torch.where(total > 0, total, 1)


def _logarithm(probabilities: Tensor, neighbours: Tensor) -> Tensor:
    return torch.where(neighbours, probabilities, 1).log()


def _as_in_code(student: Tensor, teacher: Tensor, counts: Tensor, weight: Tensor | None, epsilon: float) -> Tensor:
    def probabilities(rows: Tensor) -> Tensor:
        rows = rows / (torch.linalg.vector_norm(rows, dim=1, keepdim=True) + epsilon)
        affinity = (rows @ rows.T + 1) / 2 * counts
        total = affinity.sum(dim=1, keepdim=True)
        return affinity / torch.where(total > 0, total, 1)

    likely, found = probabilities(teacher), probabilities(student)
    return mean_over_tuples(likely * ((likely + epsilon).log() - (found + epsilon).log()), weight)


class PKT(DistillationLoss):
    """`pkt` as a module."""

    options_type = PKTOptions
    form: Literal["paper", "code"]
    epsilon: float

    def forward(self, student_features: Tensor, teacher_features: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `pkt`."""
        return pkt(student_features, teacher_features, weight, form=self.form, epsilon=self.epsilon)
