"""DarkRank: the student keeps the order in which the teacher sees a row's nearest neighbours.

Chen, Wang, Zhang, "DarkRank: Accelerating Deep Metric Learning via Cross Sample Similarities Transfer", AAAI 2018,
arXiv:1707.01220, equations 1, 4 and 5 (hard transfer).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmdistill.losses.families.relations import DarkRankOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.relations import counted, paired_rows


@without_autocast
def dark_rank(
    student_features: Tensor,
    teacher_features: Tensor,
    weight: Tensor | None = None,
    *,
    alpha: float = 3.0,
    beta: float = 3.0,
    length: int = 4,
) -> Tensor:
    """Negative log-likelihood of the teacher's order of a row's neighbours, averaged over rows.

    The score of a neighbour at distance d is −alpha · d^beta; the likelihood of an order is that of drawing its
    members one after the other without replacement, with probabilities softmax(score) over those that are left.

    The code of RKD leaves the row itself out by dropping the first of the sorted neighbours; here it is left out by
    its place, which differs only where another row coincides with it.

    Args:
        student_features: (B, D), or maps (B, C, H, W), which are flattened; the distances should be about 1, as those
            of rows of length 1 are.
        teacher_features: (B, any width), or maps; receives no gradient.
        weight: (B,) weight of each row, not negative; a row of weight zero is no neighbour either.
        alpha: factor of the scores, above 0.
        beta: exponent of the distances, at least 1.
        length: how many of the nearest neighbours are ordered, at least 2; all where there are fewer.

    Returns:
        A scalar, at least 0; not 0 nor smallest at equality, as the student's scores are not the teacher's order made
        sure. Typical weight: 2.

    Raises:
        InputError: when the shapes do not belong together.
    """
    student, teacher = paired_rows(student_features, teacher_features, weight)
    rows = len(student)
    neighbours = counted(student, weight)[None, :] & ~torch.eye(rows, dtype=torch.bool, device=student.device)
    farthest = torch.where(neighbours, _distances(teacher), torch.inf)
    order = farthest.topk(min(length, max(rows - 1, 0)), dim=1, largest=False).indices
    known = neighbours.gather(1, order)
    score = -alpha * _distances(student).gather(1, order) ** beta
    # A score that no sum notices, and finite, so that no gradient is 0 · ∞.
    score = torch.where(known, score, torch.finfo(score.dtype).min / 4)
    left = score.flip(1).logcumsumexp(dim=1).flip(1)
    return weighted_mean(torch.where(known, left - score, 0).sum(dim=1), weight)


def _distances(rows: Tensor) -> Tensor:
    return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")


class DarkRank(DistillationLoss):
    """`dark_rank` as a module."""

    options_type = DarkRankOptions
    alpha: float
    beta: float
    length: int

    def forward(self, student_features: Tensor, teacher_features: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `dark_rank`."""
        return dark_rank(
            student_features, teacher_features, weight, alpha=self.alpha, beta=self.beta, length=self.length
        )
