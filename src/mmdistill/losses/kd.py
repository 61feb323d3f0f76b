"""Knowledge distillation: KL divergence between temperature-softened class probabilities.

Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531, section 2.
"""

from __future__ import annotations

from torch import Tensor

from mmdistill.losses.families.logits import KDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.probabilities import kl_terms, log_probabilities
from mmdistill.losses.reduction import mean_of_sums
from mmdistill.losses.shapes import check_logits


def kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: float = 4.0,
) -> Tensor:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)), summed over classes, averaged over rows or positions.

    T² keeps the size of the gradient as the temperature changes (end of the paper's section 2). Some toolkits drop it
    under conditions (torchdistill without hard labels); here it is always there.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        temperature: above 0; 2 to 5 is usual, 1 compares the probabilities as they are.

    Returns:
        A scalar, at least 0, and 0 where student and teacher agree up to a constant per row. Typical weight: 0.9 beside
        0.1 of the supervised loss.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    student = log_probabilities(student_logits, temperature)
    teacher = log_probabilities(teacher_logits.detach(), temperature)
    return mean_of_sums(kl_terms(teacher, student), weight, mask, scale=temperature**2)


class KD(DistillationLoss):
    """`kd` as a module."""

    options_type = KDOptions
    temperature: float

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """See `kd`."""
        return kd(student_logits, teacher_logits, weight, mask, temperature=self.temperature)
