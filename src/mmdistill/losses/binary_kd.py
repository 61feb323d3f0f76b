"""Knowledge distillation for outputs that say yes or no: one, or several that do not exclude each other.

Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531, section 2, with the two
classes of each output.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from mmdistill.losses.bernoulli import bernoulli_divergence
from mmdistill.losses.families.task_outputs import BinaryKDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.reduction import mean_of_sums
from mmdistill.losses.shapes import check_logits


def binary_kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: float = 4.0,
    reduction: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """T² · KL between sigmoid(teacher / T) and sigmoid(student / T) of each output, averaged over rows or positions.

    A logit z stands for the two classes' logits (z, 0): with one output this is `kd` between such pairs.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences, one logit an output, C = 1 for a yes-or-no task.
        teacher_logits: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        temperature: above 0.
        reduction: over the outputs of a row.

    Returns:
        A scalar, at least 0, and 0 where student and teacher agree. Typical weight: 0.9 beside 0.1 of the supervised
        loss.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    divergence = bernoulli_divergence(student_logits, teacher_logits, temperature)
    outputs = max(student_logits.shape[-1], 1) if reduction == "mean" else 1
    return mean_of_sums(divergence, weight, mask, scale=temperature**2 / outputs)


class BinaryKD(DistillationLoss):
    """`binary_kd` as a module."""

    options_type = BinaryKDOptions
    temperature: float
    reduction: Literal["mean", "sum"]

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """See `binary_kd`."""
        return binary_kd(
            student_logits, teacher_logits, weight, mask, temperature=self.temperature, reduction=self.reduction
        )
