"""Plackett-Luce distillation.

Bassam, Zhu, Bian, "PLD: A Choice-Theoretic List-Wise Knowledge Distillation", NeurIPS 2025, arXiv:2506.12542.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmdistill.losses.families.structured_logits import PLDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen
from mmdistill.losses.probabilities import probabilities
from mmdistill.losses.rankings import place_surprises
from mmdistill.losses.reduction import mean_of_sums
from mmdistill.losses.shapes import check_logits, check_target
from mmdistill.losses.targets import counted, target_index


def pld(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    labelled: Tensor | None = None,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: float = 1.0,
) -> Tensor:
    """The teacher's ranking with the target put first, each place weighted by the teacher's probability of its class.

    Σ_k p_k · −log softmax of the k-th class among the k-th and all after it, with the student's logits. The first place
    is the cross-entropy of the target, weighted by how sure the teacher is of it; so the loss can stand alone.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient.
        target: (B,) or (B, L) class indices; a negative one is a row without target.
        labelled: (B,), true where a row has a target; rows without one get weight zero.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        temperature: above 0; divides the teacher's logits in the weights of the places.

    Returns:
        A scalar, at least 0, convex in the student's logits; not zero where student and teacher agree. Typical weight:
        1, in the place of the supervised loss or beside it.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    check_target(target, student_logits)
    teacher = widen(teacher_logits.detach())
    first = teacher.scatter(-1, target_index(target), torch.inf)
    order = first.argsort(dim=-1, descending=True, stable=True)
    surprises = place_surprises(widen(student_logits).gather(-1, order))
    terms = surprises * probabilities(teacher, temperature).gather(-1, order)
    return mean_of_sums(terms, *counted(target, labelled, weight, mask))


class PLD(DistillationLoss):
    """`pld` as a module."""

    options_type = PLDOptions
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
        """See `pld`."""
        return pld(student_logits, teacher_logits, target, labelled, weight, mask, temperature=self.temperature)
