"""Cross-entropy against the softened teacher.

Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531, section 2.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from mmdistill.losses.families.logits import SoftCrossEntropyOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.probabilities import log_probabilities, probabilities
from mmdistill.losses.reduction import mean_of_sums
from mmdistill.losses.shapes import check_logits


def soft_cross_entropy(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: float = 4.0,
    scale: Literal["temperature_squared", "none"] = "temperature_squared",
) -> Tensor:
    """−T² · Σ softmax(teacher / T) · log softmax(student / T), averaged over rows or positions.

    It has the gradient of `kd`; its value is larger by the teacher's entropy (times T²), so it is not zero where
    student and teacher agree. Published code disagrees on the T²: the paper multiplies by it, and so does cls_KD;
    TextBrewer does not, so that its temperature also rescales the loss. `scale` chooses.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        temperature: above 0; 2 to 5 is usual.
        scale: ``temperature_squared`` or ``none``.

    Returns:
        A scalar, at least T² times the entropy of the softened teacher (or that entropy). Typical weight: 0.9 beside
        0.1 of the supervised loss.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    student = log_probabilities(student_logits, temperature)
    teacher = probabilities(teacher_logits.detach(), temperature)
    factor = temperature**2 if scale == "temperature_squared" else 1.0
    return mean_of_sums(teacher * student, weight, mask, scale=-factor)


class SoftCrossEntropy(DistillationLoss):
    """`soft_cross_entropy` as a module."""

    options_type = SoftCrossEntropyOptions
    temperature: float
    scale: Literal["temperature_squared", "none"]

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """See `soft_cross_entropy`."""
        return soft_cross_entropy(
            student_logits, teacher_logits, weight, mask, temperature=self.temperature, scale=self.scale
        )
